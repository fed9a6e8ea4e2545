"""What the tests of faults share with those of the whole server."""

from tests.integration.conftest import Start, start

__all__ = ["Start", "start"]
