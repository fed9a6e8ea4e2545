"""The limits of this process's control groups: how many CPUs, how much memory it may use."""

import os
from collections.abc import Iterator
from math import ceil
from pathlib import Path, PurePosixPath
from typing import Final

SYSTEM: Final = Path("/")
"""Where `proc` and `sys` are."""


def cpus(system: Path = SYSTEM) -> int:
    """CPUs that this process may use, by its affinity and its groups; a part of one counts."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ceil(min([allowed or 1, *_quotas(system)]))


def memory(system: Path = SYSTEM) -> int:
    """Bytes of memory that this process may use: the machine's, or its groups' limit."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits(system)])


def _quotas(system: Path) -> Iterator[float]:
    for group in _groups(system, "cpu"):
        v2, v1 = ["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        for files in (v2, v1):
            match [word for name in files for word in _words(group / name)]:
                case [quota, period] if quota.isdigit():  # not "max", not -1
                    yield int(quota) / int(period)


def _limits(system: Path) -> Iterator[int]:
    for group in _groups(system, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            yield from (int(word) for word in _words(group / name) if word.isdigit())


def _groups(system: Path, controller: str) -> Iterator[Path]:
    """The group that a controller holds this process in, and those around it.

    A container may see its own group as the root, and not the path that leads to it.
    """
    mount = system / "sys/fs/cgroup"
    for line in _words(system / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        own = PurePosixPath(path.lstrip("/"))
        for folder in [mount / controller] if controllers else [mount, mount / "unified"]:
            yield from (folder / group for group in (own, *own.parents))


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
