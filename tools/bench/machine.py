"""What the benchmark ran on, and what of it: named beside every table."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[2]


def facts() -> dict[str, str]:
    """For people, by what they are."""
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "Date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Commit": _commit(),
        "Processor": f"{os.cpu_count()} cores, {model[1].strip() if model else 'unknown'}",
        "Memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "System": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    }


def _commit() -> str:
    done = subprocess.run(  # nosec B607
        ["git", "describe", "--always", "--dirty"],  # noqa: S607 - git, wherever it is
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"
