"""The limits of control groups, read from files of both versions."""

import os
from pathlib import Path

import pytest

from server import cgroup

CPUS = len(os.sched_getaffinity(0))
MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
MIB = 2**20


def system(folder: Path, own: str, **files: str) -> Path:
    """A machine whose `/proc/self/cgroup` is `own`; files by path, `__` for `/`, `_` kept."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(own)
    for name, text in files.items():
        file = folder / "sys/fs/cgroup" / name.replace("__", "/").replace("-", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def v2(folder: Path, cpu: str, memory: str, group: str = "") -> Path:
    files = {f"{group}cpu-max": cpu, f"{group}memory-max": memory}
    return system(folder, "0::/\n", **files)


def v1(folder: Path, quota: str, memory: str) -> Path:
    return system(
        folder,
        "5:memory:/docker/abc\n4:cpuacct,cpu:/docker/abc\n0::/docker/abc\n",
        **{
            "cpu__cpu-cfs_quota_us": quota,
            "cpu__cpu-cfs_period_us": "100000\n",
            "memory__memory-limit_in_bytes": memory,
        },
    )


@pytest.fixture
def many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with more CPUs than this one may have."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


@pytest.mark.usefixtures("many_cpus")
@pytest.mark.parametrize(
    ("quota", "cpus"), [("50000", 1), ("100000", 1), ("150000", 2), ("400000", 4), ("9900000", 16)]
)
def test_cpus_are_those_of_the_quota_a_part_of_one_counts(
    tmp_path: Path, quota: str, cpus: int
) -> None:
    assert cgroup.cpus(v2(tmp_path / "2", f"{quota} 100000\n", "max\n")) == cpus
    assert cgroup.cpus(v1(tmp_path / "1", f"{quota}\n", f"{MIB}\n")) == cpus


def test_memory_is_that_of_the_limit(tmp_path: Path) -> None:
    assert cgroup.memory(v2(tmp_path / "2", "max 100000\n", f"{512 * MIB}\n")) == 512 * MIB
    assert cgroup.memory(v1(tmp_path / "1", "-1\n", f"{512 * MIB}\n")) == 512 * MIB


def test_without_limits_it_is_the_machines(tmp_path: Path) -> None:
    unlimited = (
        v2(tmp_path / "2", "max 100000\n", "max\n"),
        v1(tmp_path / "1", "-1\n", "9223372036854771712\n"),
        system(tmp_path / "none", ""),
        tmp_path / "no Linux",
    )
    for machine in unlimited:
        assert (cgroup.cpus(machine), cgroup.memory(machine)) == (CPUS, MEMORY)


def test_affinity_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert cgroup.cpus(v2(tmp_path, "400000 100000\n", "max\n")) == 1


@pytest.mark.usefixtures("many_cpus")
def test_the_tightest_of_the_groups_around_a_service_counts(tmp_path: Path) -> None:
    machine = system(
        tmp_path,
        "0::/system.slice/server.service\n",
        **{
            "system.slice__server.service__cpu-max": "600000 100000",
            "system.slice__cpu-max": "300000 100000",
            "system.slice__server.service__memory-max": f"{256 * MIB}",
            "system.slice__memory-max": "max",
            "other.slice__cpu-max": "100000 100000",
        },
    )
    assert (cgroup.cpus(machine), cgroup.memory(machine)) == (3, 256 * MIB)


@pytest.mark.usefixtures("many_cpus")
def test_a_machine_with_both_versions_is_read_in_both(tmp_path: Path) -> None:
    machine = system(
        tmp_path,
        "3:cpu:/a\n0::/a\n",
        **{
            "cpu__a__cpu-cfs_quota_us": "-1",
            "cpu__a__cpu-cfs_period_us": "100000",
            "unified__a__cpu-max": "200000 100000",
            "unified__a__memory-max": f"{128 * MIB}",
        },
    )
    assert (cgroup.cpus(machine), cgroup.memory(machine)) == (2, 128 * MIB)
