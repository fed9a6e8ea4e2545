"""Admission: how many connections may be open, and which one is closed in favour of another."""

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

SPARED_SECONDS: Final = 1.0
"""How long a connection may wait for a request before it can be closed in favour of a new one.

Time enough for a good client to send what it came for, however many others come.
"""

MAX_REFUSED: Final = 100
"""Connections over the cap that are waited for at once; further ones are closed at once."""


class Admitted(Protocol):
    """A connection.

    Attributes:
        since: When it began to wait, if it waits.
    """

    since: float

    def give_way(self) -> bool:
        """Close it, while it waits; whether that is done, or some is to be read yet."""


AnyAdmitted = TypeVar("AnyAdmitted", bound=Admitted)


class Admission(Generic[AnyAdmitted]):
    """Every open connection, and those that wait for a request, the longest first.

    Args:
        most: How many may be open.
        now: The clock.
    """

    def __init__(self, most: int, now: Callable[[], float]) -> None:
        self._most = most
        self._now = now
        self._open: set[AnyAdmitted] = set()
        self._waiting: OrderedDict[AnyAdmitted, None] = OrderedDict()
        self._refused: set[AnyAdmitted] = set()
        self.closed: Final[Counter[str]] = Counter()

    @property
    def crowded(self) -> bool:
        """Whether so many are being refused that none of them can be waited for."""
        return len(self._refused) > MAX_REFUSED

    def everyone(self) -> tuple[AnyAdmitted, ...]:
        """All connections, those that are being refused, too."""
        return (*self._open, *self._refused)

    def admit(self, connection: AnyAdmitted) -> bool:
        """Count a new connection, which waits; False if it is too many."""
        if len(self._open) < self._most or self._make_room():
            self._open.add(connection)
            self._waiting[connection] = None
            return True
        self._refused.add(connection)
        self.closed["there were --max-connections already"] += 1
        return False

    def wait(self, connection: AnyAdmitted) -> None:
        """The connection begins to wait, behind all that wait already."""
        if connection in self._open:  # or it was lost while its request was answered
            self._waiting[connection] = None
            self._waiting.move_to_end(connection)

    def work(self, connection: AnyAdmitted) -> None:
        """The connection waits no longer."""
        self._waiting.pop(connection, None)

    def forget(self, connection: AnyAdmitted) -> None:
        """The connection is closed."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)
        self._refused.discard(connection)

    def _make_room(self) -> bool:
        """Close the connection that has waited longest, if it has waited for a while."""
        while self._waiting:
            connection = next(iter(self._waiting))
            if self._now() - connection.since < SPARED_SECONDS:
                break
            del self._waiting[connection]
            if connection.give_way():
                self._open.discard(connection)
                self.closed["of --max-connections, these had waited longest"] += 1
                return True
        return False
