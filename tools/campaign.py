"""A campaign's frame: a new folder for it, and at its end what was lost, and the exit code."""

import argparse
import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path

from tools.load import LoadError

Run = Callable[[argparse.Namespace, Path], Coroutine[None, None, list[str]]]
"""Runs it on a folder; what was lost, a sentence each."""


def conduct(parser: argparse.ArgumentParser, run: Run) -> int:
    """Parse the arguments and run; the exit code: 1 if anything was lost.

    Args:
        parser: Has the campaign's own arguments; the folder's is added.
        run: What to run.
    """
    parser.add_argument("--data-dir", type=Path, help="new folder, kept; else a temporary one")
    given = parser.parse_args()
    if given.data_dir and given.data_dir.exists() and any(given.data_dir.iterdir()):
        parser.error(f"--data-dir {given.data_dir} is not empty: name a new folder")
    with contextlib.ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        folder = given.data_dir or Path(stack.enter_context(temporary))
        try:
            lost = asyncio.run(run(given, folder))
        except LoadError as error:
            lost = [str(error)]
    for sentence in lost[:50]:
        print(f"LOST      {sentence}")
    print(f"{len(lost)} losses" if lost else "nothing was lost")
    return 1 if lost else 0
