"""The keys under which the application holds what handlers need."""

from typing import Final

from aiohttp import web

from server.backup.backups import Backups
from server.health import Health
from server.predictions import Predictions
from server.web.constant import Constant
from server.web.pace import Pace
from server.web.status import StatusReport
from server.web.upload import UploadReader

BACKUPS: Final = web.AppKey("backups", Backups)
OPENAPI: Final = web.AppKey("openapi", Constant)
HEALTH: Final = web.AppKey("health", Health)
PACE: Final = web.AppKey("pace", Pace)
PREDICTIONS: Final = web.AppKey("predictions", Predictions)
STATUS: Final = web.AppKey("status", StatusReport)
UPLOADS: Final = web.AppKey("uploads", UploadReader)
