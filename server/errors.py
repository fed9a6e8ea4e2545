"""Every error a client can meet, each once: its stable code, its HTTP status, its sentence."""

from typing import ClassVar


class ServerError(Exception):
    """An error with a stable code, an HTTP status and a sentence that says what to do.

    Args:
        sentence: What is wrong and what to do; shown to the client as it is.
        retry_after: Seconds after which trying again makes sense, where waiting helps.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500

    def __init__(self, sentence: str, *, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.retry_after = retry_after


class MalformedRequestError(ServerError):
    """The body or its framing can't be read."""

    code, status = "malformed_request", 400


class InvalidParameterError(ServerError):
    """A query parameter, form field or header has a value that is not accepted."""

    code, status = "invalid_parameter", 400


class MalformedIdError(ServerError):
    """A request id in the path is not a UUID."""

    code, status = "malformed_request_id", 400


class NoImageError(ServerError):
    """The request carries no image."""

    code, status = "no_image", 400


class EmptyImageError(ServerError):
    """The image has no bytes."""

    code, status = "empty_image", 400


class UnauthorizedError(ServerError):
    """The request carries no API key, or one that is unknown."""

    code, status = "unauthorized", 401


class ForbiddenError(ServerError):
    """The request's API key does not allow this."""

    code, status = "forbidden", 403


class NotFoundError(ServerError):
    """No such path or prediction."""

    code, status = "not_found", 404


class MethodNotAllowedError(ServerError):
    """The path exists, the method does not."""

    code, status = "method_not_allowed", 405


class SlowBodyError(ServerError):
    """The body did not arrive in time."""

    code, status = "body_timeout", 408


class SlowHeadError(ServerError):
    """The head of the request did not arrive in time."""

    code, status = "header_timeout", 408


class TooManyBytesError(ServerError):
    """The body is larger than the server takes."""

    code, status = "too_many_bytes", 413


class TooManyPixelsError(ServerError):
    """The image has more pixels than the server decodes."""

    code, status = "too_many_pixels", 413


class UnsupportedMediaTypeError(ServerError):
    """The body is neither a form nor an image."""

    code, status = "unsupported_media_type", 415


class UnsupportedImageError(ServerError):
    """The bytes are no image of an accepted format."""

    code, status = "unsupported_image", 415


class IdempotencyConflictError(ServerError):
    """The same Idempotency-Key is in use right now, for another image."""

    code, status = "idempotency_conflict", 409


class IdempotencyKeyReusedError(ServerError):
    """The same Idempotency-Key was used before, for another image."""

    code, status = "idempotency_key_reused", 422


class UndecodableImageError(ServerError):
    """The image has an accepted format but can't be decoded: truncated or corrupt."""

    code, status = "undecodable_image", 422


class NoBackupError(ServerError):
    """There is nothing to import."""

    code, status = "no_backup", 404


class BackupBusyError(ServerError):
    """An import or export is running already."""

    code, status = "backup_running", 409


class BackupUnusableError(ServerError):
    """The backup is truncated, corrupt, foreign or of a newer server; nothing was changed."""

    code, status = "backup_unusable", 502


class RemoteFailedError(ServerError):
    """The remote can't be reached, or refuses."""

    code, status = "remote_failed", 502


class QueueFullError(ServerError):
    """More requests wait than the queue holds."""

    code, status = "queue_full", 429


class TooManyUploadsError(ServerError):
    """More bytes are being uploaded at once than the server takes."""

    code, status = "too_many_uploads", 429


class ModelFailedError(ServerError):
    """The model raised, or answered what is not a result."""

    code, status = "model_error", 500


class WorkerLostError(ServerError):
    """The worker process that held the image ended."""

    code, status = "worker_lost", 500


class NotReadyError(ServerError):
    """The server is starting or draining."""

    code, status = "not_ready", 503


class TooManyConnectionsError(ServerError):
    """More connections are open than the server keeps."""

    code, status = "too_many_connections", 503


class StorageFullError(ServerError):
    """The disk has no room for what would have to be kept."""

    code, status = "storage_full", 503

    def __init__(
        self,
        sentence: str = "The server's disk is full: it keeps what it has, but accepts nothing new."
        " Try again later.",
        *,
        retry_after: float | None = 30,
    ) -> None:
        super().__init__(sentence, retry_after=retry_after)


class QueueTimeoutError(ServerError):
    """No worker was free in time."""

    code, status = "queue_timeout", 504


class PredictTimeoutError(ServerError):
    """The model took longer than the server waits."""

    code, status = "predict_timeout", 504


_ERRORS: list[type[ServerError]] = [ServerError, *ServerError.__subclasses__()]

BY_CODE: dict[str, type[ServerError]] = {error.code: error for error in _ERRORS}
"""Every error by its stable code: how one that crossed a process boundary is found again."""
