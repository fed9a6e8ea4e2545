"""Everything that can go wrong, as sentences: for one item, for the run, for the one who typed."""


class ToolError(Exception):
    """Ends the run.

    Attributes:
        exit_code: What the command ends with.
    """

    exit_code = 1


class UsageError(ToolError):
    """The command line, a file it names or an id in it is wrong."""

    exit_code = 2


class LoginError(ToolError):
    """Dataloop or the server does not take the credentials, or there are none."""

    exit_code = 2


class ItemError(Exception):
    """One item can't be annotated; the run goes on with the next."""


class RefusedError(ItemError):
    """The gate or the server refused a request for good.

    Args:
        status: The HTTP status.
        sentence: Who refused and why.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class TryLaterError(ItemError):
    """A request failed that may succeed later.

    Args:
        sentence: Who failed and why.
        retry_after: Seconds that the other side asked to wait; None: it did not say.
    """

    def __init__(self, sentence: str, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class UnreachableError(TryLaterError):
    """Nobody answers at an address: every other item would fail the same way."""
