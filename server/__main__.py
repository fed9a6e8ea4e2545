"""The command line: serve; or check a model, import, export."""

import argparse
import logging
import sys
from pathlib import Path

import uvloop

from server import logs, settings
from server.model.check import check
from server.serve import CannotStartError, serve
from server.transfer import transfer


def main(arguments: list[str]) -> int:
    """Run what the arguments say; the exit code: 0 well, 1 failed, 2 wrongly called."""
    if arguments[:1] == ["check"]:
        return _check(arguments[1:])
    if arguments[:1] in (["import"], ["export"]):
        return _transfer(*arguments)
    return _serve(arguments)


def _serve(arguments: list[str]) -> int:
    try:
        chosen = settings.load(arguments)
    except settings.BadSettingError as error:
        return _refuse(str(error))
    logs.configure(chosen.log_format)
    for name in settings.unknown_variables():
        logging.getLogger("server").warning("%s is no setting of this server: ignored", name)
    try:
        uvloop.run(serve(chosen))
    except CannotStartError as error:
        logging.getLogger("server").error("%s", error)
        return 1
    except Exception:
        logging.getLogger("server").exception("the server ended")
        return 1
    return 0


def _transfer(what: str, *arguments: str) -> int:
    try:
        chosen = settings.load([*arguments])
    except settings.BadSettingError as error:
        return _refuse(str(error))
    logging.getLogger("server").setLevel(logging.ERROR)  # the command says all else itself
    try:
        return uvloop.run(transfer(what, chosen))
    except KeyboardInterrupt:
        sys.stderr.write(f"\npython -m server: the {what} is given up; nothing was changed\n")
        return 130


def _check(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "python -m server check", description="Load a model, run it, and tell what is wrong."
    )
    parser.add_argument("model", help="module:Class or path/to/file.py:Class")
    parser.add_argument("images", nargs="*", type=Path, help="photos to run it on")
    given = parser.parse_args(arguments)
    try:
        limits = settings.load([]).image_limits()
    except settings.BadSettingError as error:
        return _refuse(str(error))
    return check(given.model, given.images, limits, sys.stdout)


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"python -m server: {sentence} (see --help)\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
