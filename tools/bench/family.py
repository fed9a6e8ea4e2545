"""A family of processes: all that one command started, found by a mark in their environment."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

MARK: Final = "BENCH_FAMILY"
_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Member(NamedTuple):
    """A process; its number alone may be given to another later."""

    pid: int
    started: int


class Stat(NamedTuple):
    """What `/proc/PID/stat` tells.

    Attributes:
        started: Ticks after the machine's start.
        parent: The parent's number.
        cpu: Seconds of processor time so far.
        zombie: It has ended, and its parent has not asked yet.
    """

    started: int
    parent: int
    cpu: float
    zombie: bool


def stat(pid: int) -> Stat | None:
    """What the kernel tells of a process; None when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    cpu = (int(fields[11]) + int(fields[12])) / _TICK
    return Stat(int(fields[19]), int(fields[1]), cpu, fields[0] == "Z")


def members(mark: str) -> set[Member]:
    """Everybody who bears the mark, with their descendants, who may have hidden theirs."""
    everybody = {pid: found for pid in _numbers() if (found := stat(pid)) and not found.zombie}
    sought = f"{MARK}={mark}".encode()
    family = {pid for pid in everybody if sought in _environment(pid)}
    grown = True
    while grown:
        more = {pid for pid, each in everybody.items() if each.parent in family} - family
        family |= more
        grown = bool(more)
    return {Member(pid, everybody[pid].started) for pid in family}


def cpu_seconds(mark: str) -> float:
    """Processor time that the living members have used so far."""
    return sum(found.cpu for pid, _ in members(mark) if (found := stat(pid)))


def memory_mib(mark: str) -> float:
    """What the members hold; pages that they share are counted once (PSS)."""
    return sum(_proportional(pid) for pid, _ in members(mark)) / 1024


def resident_mib(pid: int) -> float:
    """What one process holds, shared pages and all (RSS)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20


def end(mark: str, root: int, grace: float = 10) -> None:
    """Tell the first member to stop; kill, one by one, whoever is left after the grace.

    Args:
        mark: The family's.
        root: The first member's number.
        grace: Seconds.
    """
    family = members(mark)
    _signal({each for each in family if each.pid == root}, signal.SIGTERM)
    limit = time.monotonic() + grace
    while _alive(family) and time.monotonic() < limit:
        time.sleep(0.05)
    for _ in range(100):
        family |= members(mark)
        if not _alive(family):
            return
        _signal(_alive(family), signal.SIGKILL)
        time.sleep(0.05)


def _alive(family: set[Member]) -> set[Member]:
    found = {each: stat(each.pid) for each in family}
    return {
        each
        for each, now in found.items()
        if now and now.started == each.started and not now.zombie
    }


def _signal(family: set[Member], number: signal.Signals) -> None:
    for each in _alive(family):
        try:
            os.kill(each.pid, number)
        except ProcessLookupError:  # it ended meanwhile
            continue


def _numbers() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").glob("[0-9]*"))


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _proportional(pid: int) -> int:
    """KiB."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
