"""The operations: of every route, what it takes and what it answers."""

from typing import Any, Final

from aiohttp.typedefs import Handler

from server import errors
from server.prediction import Status
from server.web import docs, handlers, parameters
from server.web.contract import bodies
from server.web.contract.image import FLAG
from server.web.contract.operation import JSON, Answer, Header, Operation, Parameter
from server.web.progress import LINES

_PREDICTING: Final = "Predicting"
_RESULTS: Final = "Results"
_BACKUP: Final = "Backup"
_SERVER: Final = "Server"

_TEXT: Final = {"type": "string"}
_RESULT_PATH: Final = "^/predictResults/[0-9a-f-]{36}$"

REQUEST_ID: Final = Parameter(
    "X-Request-ID",
    "header",
    "Told back, and logged; one of more than 128 letters, digits and `._:/+=-` is replaced.",
    _TEXT,
)
"""A header that every call takes."""

_OF_RESULT: Final = Parameter(
    "request_id",
    "path",
    "The `request_id` that a predict answered.",
    {"type": "string", "format": "uuid"},
)
_SAVE: Final = Parameter(
    "save_locally",
    "query",
    "Keep the file on the server until its result is deleted. Goes before the form's field.",
    FLAG,
)
_KEY: Final = Parameter(
    "Idempotency-Key",
    "header",
    "Makes it safe to repeat the request: the same key with the same image is answered, not run"
    " again. Use a new one, such as a UUID, for each image.",
    {"type": "string", "pattern": f"^[!-~]([ -~]{{0,{parameters.MAX_KEY - 2}}}[!-~])?$"},
)
_ASYNC: Final = Parameter(
    "Prefer",
    "header",
    "`respond-async`: accept the image, answer 202 at once, run the model later.",
    _TEXT,
)
_WAIT: Final = Parameter(
    "Prefer",
    "header",
    "`wait=20`: where the result is Pending, wait so many seconds for its end,"
    f" {parameters.MAX_WAIT} at most.",
    _TEXT,
)
_PAGE: Final = (
    Parameter(
        "limit",
        "query",
        "How many results; without it, all. The header `Link` names the next page.",
        {"type": "integer", "minimum": 1, "maximum": parameters.MAX_LIMIT},
    ),
    Parameter("status", "query", "Only those of that status.", {"enum": [*Status]}),
    Parameter(
        "since",
        "query",
        "Only those made since then; without an offset, the time is UTC.",
        {"type": "string", "format": "date-time"},
    ),
    Parameter(
        "cursor",
        "query",
        "Where a page begins; take it from `Link`.",
        {"type": "string", "pattern": parameters.CURSOR_PATTERN},
    ),
)
_FILE: Final = Parameter("file", "path", "Its name.", {"enum": [*docs.FILES]})
_IF_NONE_MATCH: Final = Parameter("If-None-Match", "header", "An `ETag` that is known.", _TEXT)

_LOCATION: Final = Header(
    "Location", "Where the result will stand.", {"type": "string", "pattern": _RESULT_PATH}, True
)
_APPLIED: Final = Header("Preference-Applied", "The part of `Prefer` that was followed.", _TEXT)
_NEXT: Final = Header("Link", 'The next page, while there is one, as `rel="next"`.', _TEXT)
_CONSTANT: Final = (
    Header("ETag", "Changes when the reply does.", _TEXT, True),
    Header("Cache-Control", "`no-cache`: ask whether it has changed.", _TEXT, True),
)
_UNCHANGED: Final = Answer("It is the one that is known.", {}, _CONSTANT)

_UPLOAD: Final = (
    *(errors.NoImageError, errors.EmptyImageError, errors.SlowBodyError),
    *(errors.TooManyBytesError, errors.TooManyPixelsError, errors.UnsupportedMediaTypeError),
    *(errors.UnsupportedImageError, errors.UndecodableImageError),
    *(errors.IdempotencyConflictError, errors.IdempotencyKeyReusedError),
    *(errors.QueueFullError, errors.TooManyUploadsError),
    *(errors.NotReadyError, errors.StorageFullError),
)
_RECEIPT: Final = "It is accepted, and will be run, whatever happens to the server."
_ACCEPTED: Final = Answer(_RECEIPT, {JSON: bodies.Receipt}, (_LOCATION,), names_result=True)
_DEFERRED: Final = Answer(
    f"{_RECEIPT} (With `Prefer: respond-async`.)",
    {JSON: bodies.Receipt},
    (_LOCATION, _APPLIED),
    names_result=True,
)
_DONE: Final = {200: Answer("It is done.", {JSON: bodies.Done})}
_FOLLOWED: Final = {
    200: Answer(
        "It is done. With `Accept: application/x-ndjson` there are lines, each a JSON object: how"
        " much is done, and last what the reply would have been.",
        {JSON: bodies.Done, LINES: list[bodies.Running | bodies.Done | bodies.Failure]},
    )
}
OPERATIONS: Final[dict[Handler, Operation]] = {
    handlers.predict: Operation(
        _PREDICTING,
        {
            200: Answer("The result.", {JSON: bodies.SuccessResult}, names_result=True),
            202: _DEFERRED,
        },
        (
            *(*_UPLOAD, errors.ModelFailedError, errors.WorkerLostError),
            *(errors.QueueTimeoutError, errors.PredictTimeoutError),
        ),
        (_SAVE, _KEY, _ASYNC),
        takes_image=True,
    ),
    handlers.async_predict: Operation(
        _PREDICTING,
        {200: _ACCEPTED, 202: _DEFERRED},
        _UPLOAD,
        (_SAVE, _KEY, _ASYNC),
        takes_image=True,
    ),
    handlers.list_results: Operation(
        _RESULTS,
        {200: Answer("The results.", {JSON: list[bodies.Result]}, (_NEXT,))},
        parameters=_PAGE,
    ),
    handlers.get_result: Operation(
        _RESULTS,
        {200: Answer("The result.", {JSON: bodies.Result}, (_APPLIED,), names_result=True)},
        (errors.MalformedIdError, errors.NotFoundError),
        (_OF_RESULT, _WAIT),
    ),
    handlers.delete: Operation(
        _RESULTS,
        _DONE,
        (errors.MalformedIdError, errors.NotFoundError, errors.StorageFullError),
        (_OF_RESULT,),
        more="One that is Pending is never run. The backup forgets it, too.",
    ),
    handlers.delete_all: Operation(
        _RESULTS, _DONE, (errors.StorageFullError,), more="The backup forgets them, too."
    ),
    handlers.export_all: Operation(
        _BACKUP,
        _FOLLOWED,
        (
            *(errors.BackupBusyError, errors.RemoteFailedError),
            *(errors.NotReadyError, errors.StorageFullError),
        ),
        more="It goes on to its end, even if the client leaves.",
    ),
    handlers.import_all: Operation(
        _BACKUP,
        _FOLLOWED,
        (
            *(errors.NoBackupError, errors.BackupBusyError, errors.BackupUnusableError),
            *(errors.RemoteFailedError, errors.NotReadyError, errors.StorageFullError),
        ),
        more="It goes on to its end, even if the client leaves.",
    ),
    handlers.status: Operation(_SERVER, {200: Answer("The figures.", {JSON: bodies.Report})}),
    handlers.livez: Operation(_SERVER, {200: Answer("It answers.", {JSON: bodies.Alive})}),
    handlers.readyz: Operation(
        _SERVER, {200: Answer("It is ready.", {JSON: bodies.Ready})}, (errors.NotReadyError,)
    ),
    handlers.openapi: Operation(
        _SERVER,
        {
            200: Answer("The document.", {JSON: dict[str, Any]}, _CONSTANT),
            304: _UNCHANGED,
        },
        parameters=(_IF_NONE_MATCH,),
    ),
    handlers.docs: Operation(
        _SERVER,
        {200: Answer("The page.", {"text/html": str}, _CONSTANT), 304: _UNCHANGED},
        parameters=(_IF_NONE_MATCH,),
    ),
    handlers.docs_file: Operation(
        _SERVER,
        {
            200: Answer("The file.", {"text/css": str, "text/javascript": str}, _CONSTANT),
            304: _UNCHANGED,
        },
        (errors.NotFoundError,),
        (_FILE, _IF_NONE_MATCH),
    ),
}
