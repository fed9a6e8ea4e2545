"""The run: items through the annotator, several at once, until done or told to stop."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from types import FrameType
from typing import Final

from tools.dataloop.annotator import Annotator, Outcome
from tools.dataloop.errors import ItemError, ToolError, UnreachableError
from tools.dataloop.gate import Target

AHEAD: Final = 2
"""Items for each worker that are taken from their pages: one in hand, one that waits."""

Job = Future[Outcome | None]


class Run:
    """Annotates items in their order, so many at once.

    Args:
        annotator: What annotates one.
        workers: How many at once.
        stop: Once set, no further item is begun; those in hand are finished.
    """

    def __init__(self, annotator: Annotator, workers: int, stop: threading.Event) -> None:
        self._annotator = annotator
        self._workers = workers
        self._stop = stop
        self._undone: list[tuple[int, str | None]] = []  # a place, the id at the place before
        self.broken_by: ToolError | None = None

    def over(self, targets: Iterator[Target], told: Callable[[Outcome], None]) -> None:
        """Annotate the items; each one's outcome is told, in this thread.

        Raises:
            KeyboardInterrupt: Nothing was waited for.
        """
        jobs: set[Job] = set()
        places = self._places(targets)
        pool = ThreadPoolExecutor(self._workers, "item")
        try:
            while True:
                room = AHEAD * self._workers - len(jobs)
                jobs |= {pool.submit(self._one, *each) for each in islice(places, room)}
                if not jobs:
                    return
                jobs = _tell(jobs, told)
        finally:
            self._stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def rest(self) -> tuple[int, str | None] | None:
        """From where on items are not done: how many are, and the id of the last of those.

        None: All are done.
        """
        return min(self._undone, key=itemgetter(0), default=None)

    def _places(self, targets: Iterator[Target]) -> Iterator[tuple[int, Target, str | None]]:
        """The items with their numbers and the id before, until the run is to stop."""
        number, before = 0, None
        try:
            for number, target in enumerate(targets):
                if self._stop.is_set():
                    self._undone.append((number, before))
                    return
                yield number, target, before
                before = _id(target)
        except (ToolError, ItemError) as error:  # there are more, but the gate does not list them
            self._undone.append((number + 1, before))
            self._break(error)

    def _one(self, number: int, target: Target, before: str | None) -> Outcome | None:
        """What became of an item; None: it is as if it was not begun."""
        if self._stop.is_set():
            self._undone.append((number, before))
            return None
        try:
            return self._annotator.annotate(target)
        except (ToolError, UnreachableError) as error:
            self._undone.append((number, before))
            self._break(error)
            return None
        except ItemError as error:
            return _failed(target, str(error))
        except Exception as error:  # noqa: BLE001 - the boundary: one item never stops the run
            return _failed(target, f"the tool itself failed: {type(error).__name__}: {error}")

    def _break(self, error: Exception) -> None:
        if self.broken_by is None:
            self.broken_by = error if isinstance(error, ToolError) else ToolError(str(error))
        self._stop.set()


@contextmanager
def finishing_on_signals(stop: threading.Event, say: Callable[[str], None]) -> Iterator[None]:
    """Within, the first Ctrl-C or SIGTERM sets `stop`; the second ends at once.

    Raises:
        KeyboardInterrupt: At the second.
    """

    def handle(number: int, _: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()
        say("finishing the items in hand; Ctrl-C again stops at once")

    before = {each: signal.signal(each, handle) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _tell(waiting: set[Job], told: Callable[[Outcome], None]) -> set[Job]:
    """Wait for some of them and tell their outcomes; the others."""
    done, others = wait(waiting, return_when=FIRST_COMPLETED)
    for job in done:
        outcome = job.result()
        if outcome:
            told(outcome)
    return others


def _failed(target: Target, why: str) -> Outcome:
    return Outcome(_id(target), "" if isinstance(target, str) else target.name, "failed", why=why)


def _id(target: Target) -> str:
    return target if isinstance(target, str) else target.id
