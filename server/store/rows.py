"""The rows of predictions: a prediction as the database has it, and back."""

from typing import Any, Final

from server.prediction import TRANSITIONS, Prediction, Status, Timings

COLUMNS: Final = (
    "request_id, status, created_at, response, error, completed_at, model,"
    " queued_ms, decode_ms, predict_ms"
)

OPEN: Final = ", ".join(f"'{status}'" for status, following in TRANSITIONS.items() if following)
"""The statuses that are not the last, as SQL lists them."""


def to_row(prediction: Prediction) -> tuple[Any, ...]:  # columns of any types
    """The columns, in the order of the statements."""
    timings = prediction.timings
    return (
        prediction.request_id,
        prediction.status,
        prediction.created_at,
        prediction.response,
        prediction.error,
        prediction.completed_at,
        prediction.model,
        *((timings.queued, timings.decode, timings.predict) if timings else (None, None, None)),
    )


def from_row(  # noqa: PLR0913, PLR0917 - a row's columns, in the order of the statements
    request_id: str,
    status: str,
    created_at: int,
    response: bytes,
    error: str | None,
    completed_at: int | None,
    model: str | None,
    queued: float | None,
    decode: float | None,
    predict: float | None,
) -> Prediction:
    """The prediction that a row holds."""
    timings = None
    if queued is not None and decode is not None and predict is not None:
        timings = Timings(queued, decode, predict)
    return Prediction(
        request_id, Status(status), created_at, response, error, completed_at, model, timings
    )
