"""The names that rows bear: of systems and of loads."""

from typing import Final

OURS: Final = "server"
RAW: Final = "raw SQLite"

WORKERS: Final = 2
"""Processes that run the model, of each system and of the limit."""

OPEN: Final = "open loop"
BATCHES: Final = "64 clients"
OVERLOAD: Final = "overload"
