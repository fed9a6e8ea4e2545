"""The bodies of replies: each JSON object that a client can read, as a type."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from server.backup.backups import BackupFigures
from server.prediction import Status, Timings

_RequestId = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
_Moment = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$",
        json_schema_extra={"format": "date-time"},
        examples=["2026-01-31T12:00:00Z"],
    ),
]
_Count = Annotated[int, Field(ge=0)]
_Label = Annotated[str, Field(min_length=1)]
_Confidence = Annotated[float, Field(ge=0, le=1)]
_Milliseconds = Annotated[float, Field(ge=0)]


# Annotations: what a model found, in pixels of the upright image. Edges may lie outside of it.


class Class(TypedDict):
    """What the whole image shows."""

    type: Literal["class"]
    label: _Label
    confidence: _Confidence


class Box(TypedDict):
    """A thing and the upright rectangle around it."""

    type: Literal["box"]
    label: _Label
    confidence: _Confidence
    left: float
    top: float
    right: float
    bottom: float


class Polygon(TypedDict):
    """A thing and its outline: corners [x, y]."""

    type: Literal["polygon"]
    label: _Label
    confidence: _Confidence
    points: Annotated[list[tuple[float, float]], Field(min_length=3)]


class RunLengths(TypedDict):
    """COCO's uncompressed run lengths."""

    size: Annotated[tuple[_Count, _Count], Field(description="Height and width.")]
    counts: Annotated[
        list[_Count], Field(description="Lengths of runs down the columns, the first one of zeros.")
    ]


class Mask(TypedDict):
    """A thing and the pixels that show it."""

    type: Literal["mask"]
    label: _Label
    confidence: _Confidence
    mask: RunLengths


class Point(TypedDict):
    """A thing and one place of it."""

    type: Literal["point"]
    label: _Label
    confidence: _Confidence
    x: float
    y: float


Annotation = Annotated[Class | Box | Polygon | Mask | Point, Field(discriminator="type")]


class Answer(TypedDict):
    """What the model found, and whatever else its author wants to tell."""

    image: Annotated[str, Field(description="The client's name of the file.")]
    label: Annotated[
        str | None,
        Field(description="The surest class, or else annotation; null where nothing was found."),
    ]
    confidence: _Confidence | None
    annotations: Annotated[
        list[Annotation], Field(description="What was found, in pixels of the upright image.")
    ]


# Results: the record of each image


class PendingResult(TypedDict):
    """Accepted; it will be run, whatever happens to the server."""

    request_id: _RequestId
    status: Literal[Status.PENDING]
    response: None
    createdAt: _Moment


class SuccessResult(TypedDict):
    """The model's answer."""

    request_id: _RequestId
    status: Literal[Status.SUCCESS]
    response: Answer
    createdAt: _Moment
    completedAt: _Moment
    model: NotRequired[Annotated[str, Field(description="Its name and version.")]]
    timings: NotRequired[
        Annotated[Timings, Field(description="Where the time went, in milliseconds.")]
    ]


class FailResult(TypedDict):
    """The image could not be run."""

    request_id: _RequestId
    status: Literal[Status.FAIL]
    response: Annotated[str, Field(description="What went wrong.")]
    error: Annotated[str, Field(description="The stable code.")]
    createdAt: _Moment
    completedAt: _Moment
    model: NotRequired[str]
    timings: NotRequired[Timings]


Result = Annotated[PendingResult | SuccessResult | FailResult, Field(discriminator="status")]


# Other replies


class Receipt(TypedDict):
    """An image is accepted: its result will stand under this id."""

    request_id: _RequestId
    status: Literal[Status.SUCCESS]
    response: Literal["Async request got sent"]


class Done(TypedDict):
    """It is done."""

    status: Literal[Status.SUCCESS]
    response: Annotated[str, Field(description="What was done.")]


class Failure(TypedDict):
    """An error."""

    status: Literal[Status.FAIL]
    response: Annotated[str, Field(description="What is wrong and what to do.")]
    error: Annotated[str, Field(description="The stable code: what to build on.")]
    request_id: NotRequired[
        Annotated[_RequestId, Field(description="The result under which it is recorded, if it is.")]
    ]


class Running(TypedDict):
    """A line of progress."""

    status: Literal["Running"]
    done: _Count
    total: Annotated[_Count, Field(description="Of how much; 0 as long as that is not known.")]


class Alive(TypedDict):
    """The process answers."""

    status: Literal["Alive"]


class Ready(TypedDict):
    """The server takes predicts."""

    status: Literal["Ready"]


# The status report


class ModelFigures(TypedDict):
    """The loaded model."""

    name: str
    version: str | None


class WorkerFigures(TypedDict):
    """The workers, each with the model loaded."""

    total: _Count
    alive: _Count
    restarts: Annotated[_Count, Field(description="How often one was lost and replaced.")]


class PendingFigures(TypedDict):
    """Accepted predictions that are not finished."""

    count: _Count
    limit: _Count
    oldest_age: Annotated[
        float | None, Field(description="Seconds since the oldest one was accepted.")
    ]


class QueueFigures(TypedDict):
    """Images on their way through the model."""

    waiting: _Count
    running: _Count
    limit: Annotated[_Count, Field(description="How many may wait.")]


class ResultFigures(TypedDict):
    """How many results there are, by status."""

    total: _Count
    Pending: _Count
    Success: _Count
    Fail: _Count


class Report(TypedDict):
    """The server is alive; its figures."""

    status: Literal["Alive"]
    ready: Annotated[bool, Field(description="Whether it takes predicts.")]
    version: str
    uptime: Annotated[float, Field(ge=0, description="Seconds.")]
    model: Annotated[ModelFigures | None, Field(description="Null while it is being loaded.")]
    workers: WorkerFigures
    rate: Annotated[float, Field(ge=0, description="Predictions finished in a second, lately.")]
    pending: PendingFigures
    queue: QueueFigures
    backup: BackupFigures
    results: ResultFigures
