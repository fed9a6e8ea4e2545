"""A worker: one process or thread that holds a loaded model, as the runner sees it."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from server.logs import LogFormat
from server.model.header import ImageLimits
from server.model.hosted import HostedModel, ImageInput, ModelInfo, Outcome
from server.model.loader import ModelSpecError


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker is made of.

    Attributes:
        model: The model, as `--model` names it.
        limits: What the images may be.
        predict_timeout: Seconds a batch may take.
        load_timeout: Seconds the model may take to load.
        recycle_after: Images after which the worker is worn; 0: never.
        log_format: How a worker that is a process logs.
    """

    model: str
    limits: ImageLimits
    predict_timeout: float
    load_timeout: float
    recycle_after: int
    log_format: LogFormat


class Worker(Protocol):
    """Holds one loaded model. Called from one thread; only `kill` may come from another."""

    @property
    def worn(self) -> bool:
        """Whether it did its share of work and should be replaced."""

    def load(self) -> ModelInfo:
        """Start the worker and load the model into it.

        Raises:
            ModelLoadError: The model can't be loaded.
        """

    def run(self, inputs: Sequence[ImageInput]) -> list[Outcome]:
        """One outcome for each input, in order.

        Raises:
            WorkerLostError: The worker ended instead of answering.
            PredictTimeoutError: It took too long and was given up.
        """

    def close(self) -> None:
        """End the worker when it is idle; one that was lost is cleaned up."""

    def kill(self) -> None:
        """End the worker now, whatever it is doing."""


def run_batch(worker: Worker, inputs: Sequence[ImageInput]) -> list[Outcome]:
    """What the runner is asked to do with a batch."""
    return worker.run(inputs)


class ModelLoadError(Exception):
    """The model can't be loaded.

    Attributes:
        details: The traceback through the author's own code; empty where it would not help.
    """

    def __init__(self, sentence: str, details: str = "") -> None:
        super().__init__(sentence)
        self.details = details


def load_hosted(hosted: HostedModel) -> ModelInfo:
    """Load a model, with its author's traceback in what is raised if that fails.

    Raises:
        ModelLoadError: The model can't be found or loaded.
    """
    try:
        return hosted.load()
    except ModelSpecError as error:
        raise ModelLoadError(str(error)) from error
    except Exception as error:
        raise ModelLoadError(f"{type(error).__name__}: {error}", traceback.format_exc()) from error
