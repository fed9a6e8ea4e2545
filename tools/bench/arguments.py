"""The command line of `make bench`."""

import argparse
from pathlib import Path
from typing import Final

from tools.bench.names import OURS
from tools.bench.plan import WORKLOADS
from tools.bench.system import SYSTEMS

PEERS: Final = tuple(system.name for system in SYSTEMS if system.name != OURS)
SLOW_TO_START: Final = ("ray", "triton")
OUTPUT: Final = Path("bench-results")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m tools.bench", description="This server beside its peers, in one run."
    )
    made.add_argument("--quick", action="store_true", help="one short round: does it all work?")
    made.add_argument(
        "--peers",
        type=_names,
        help=f"of {','.join(PEERS)}, or none (default: all; with --quick all but"
        f" {' and '.join(SLOW_TO_START)})",
    )
    made.add_argument(
        "--workloads",
        type=_letters,
        default="".join(WORKLOADS),
        help="such as ab; " + "; ".join(f"{key}: {what}" for key, what in WORKLOADS.items()),
    )
    made.add_argument("--rounds", type=int, help="of all systems, in turn")
    made.add_argument("--output", type=Path, default=OUTPUT, help=f"folder (default: {OUTPUT})")
    made.add_argument(
        "--publish", action="store_true", help="also put table and plots into docs/benchmarks.md"
    )
    return made


def _names(text: str) -> tuple[str, ...]:
    if text == "none":
        return ()
    names = tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in names if name not in PEERS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(PEERS)}")
    return names


def _letters(text: str) -> str:
    if unknown := [letter for letter in text if letter not in WORKLOADS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(WORKLOADS)}")
    return text
