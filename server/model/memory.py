"""Memory: how much decoding may take, and how that is held to."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PAGE: Final = os.sysconf("SC_PAGE_SIZE")

ENVIRONMENT: Final = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(8 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(16 * 2**20),
}
"""For processes that are `limited`: glibc then gives large blocks back at once, and tries no second
heap when it gets no more. By default it keeps what it had, and each limit came on top of that.
"""

_USED: Final = Path("/proc/self/statm")


@contextmanager
def limited(size: int | None) -> Iterator[None]:
    """Let this process take no more than so many bytes beyond what it has (on Linux).

    What takes more fails with a MemoryError, or as the library at work tells that it got none.
    For processes that do one thing at a time: the limit is that of all threads.
    """
    if size is None or sys.platform != "linux":
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    used = PAGE * int(_USED.read_text().split()[5])
    limits = [used + size, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
