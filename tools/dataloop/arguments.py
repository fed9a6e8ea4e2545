"""The command line: every flag, and what is wrong with a bad one."""

import argparse
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, cast, get_args
from urllib.parse import urlsplit

from tools.dataloop.errors import UsageError

Mode = Literal["sync", "async"]
MissingLabels = Literal["error", "skip", "add", "upload"]
Existing = Literal["replace-model", "keep", "skip"]
Filter = Mapping[str, Any]  # Any: as JSON has it

KEY_VARIABLE: Final = "SERVER_API_KEY"
EPILOG: Final = """\
Dataloop's login is taken from DTLPY_API_KEY; else from DTLPY_M2M_EMAIL and DTLPY_M2M_PASSWORD;
else the session that "dlp login" stored is used.
Exit codes: 0 all items are annotated; 1 some are not, each is named; 2 usage or login."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The command line, checked.

    Attributes:
        filter: A query of Dataloop's, or empty.
        server_key: What the server asks for as `Authorization: Bearer`.
        label_map: The model's labels with those to upload instead; None: not to upload.
        given: The command line itself.
    """

    item_ids: tuple[str, ...]
    dataset_id: str | None
    filter: Filter
    folder: str | None
    unannotated: bool
    limit: int | None
    server: str
    server_key: str | None
    mode: Mode
    timeout: float
    model_name: str | None
    model_id: str | None
    min_confidence: float
    label_map: Mapping[str, str | None]
    missing_labels: MissingLabels
    existing: Existing
    workers: int
    retries: int
    dry_run: bool
    json: bool
    progress: bool
    env: str | None
    gate_url: str | None
    given: tuple[str, ...]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parse(given: Sequence[str], environ: Mapping[str, str] = os.environ) -> Arguments:
    """The arguments of a command line.

    Raises:
        UsageError: A flag is wrong; the sentence names it.
        SystemExit: After `--help`.
    """
    found = vars(parser().parse_args(given))
    if not found["dataset_id"]:
        for flag in ("filter", "folder", "unannotated", "limit"):
            if found[flag]:
                raise UsageError(f"--{flag} needs --dataset-id")
    variable = found.pop("server_key_env")
    key = environ.get(variable)
    if variable != KEY_VARIABLE and not key:
        raise UsageError(f"--server-key-env: there is no environment variable {variable}")
    ids = dict.fromkeys(each for group in found.pop("item_id") or () for each in group)
    return Arguments(
        **found,
        item_ids=tuple(ids),
        server_key=key or None,
        given=tuple(given),
    )


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    made = _Parser(
        prog="dataloop_test.py",
        description="Annotate items of a Dataloop dataset with a model's answers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for add in (_add_items, _add_server, _add_annotations, _add_run):
        add(made)
    return made


def _add_items(to: argparse.ArgumentParser) -> None:
    group = to.add_argument_group("items")
    target = group.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--item-id", nargs="+", action="append", metavar="ID", help="annotate these items"
    )
    target.add_argument("--dataset-id", metavar="ID", help="annotate the items of this dataset")
    group.add_argument(
        "--filter",
        type=_filter,
        default={},
        metavar="JSON|@FILE",
        help="only items that this Dataloop query finds",
    )
    group.add_argument("--folder", type=_folder, metavar="F", help="only items below this folder")
    group.add_argument("--unannotated", action="store_true", help="only items without annotations")
    group.add_argument("--limit", type=_positive, metavar="N", help="at most so many items")


def _add_server(to: argparse.ArgumentParser) -> None:
    group = to.add_argument_group("server")
    group.add_argument(
        "--server",
        type=_url,
        default="http://localhost:9000",
        metavar="URL",
        help="the model's server (%(default)s)",
    )
    group.add_argument(
        "--server-key-env",
        default=KEY_VARIABLE,
        metavar="NAME",
        help="environment variable that holds the server's key, if it wants one (%(default)s)",
    )
    group.add_argument(
        "--mode", choices=get_args(Mode), default="sync", help="which call predicts (%(default)s)"
    )
    group.add_argument(
        "--timeout",
        type=_seconds,
        default=60.0,
        metavar="S",
        help="seconds to wait for the answer to one image (60)",
    )


def _add_annotations(to: argparse.ArgumentParser) -> None:
    group = to.add_argument_group("annotations")
    group.add_argument(
        "--model-name", metavar="NAME", help="whose annotations these are (server's)"
    )
    group.add_argument("--model-id", metavar="ID", help="its id (the server's name@version)")
    group.add_argument(
        "--min-confidence", type=_confidence, default=0.0, metavar="C", help="leave out those below"
    )
    group.add_argument(
        "--label-map",
        type=_label_map,
        default={},
        metavar="F",
        help='JSON file {"model\'s label": "label to upload", or null to leave it out}',
    )
    group.add_argument(
        "--missing-labels",
        choices=get_args(MissingLabels),
        default="error",
        help="a label that the recipe lacks: fail the item (error), leave the annotation out"
        " (skip), add it to the recipe (add), upload all the same (upload)",
    )
    group.add_argument(
        "--existing",
        choices=get_args(Existing),
        default="replace-model",
        help="annotations of the same model: replace them (replace-model), keep them beside the"
        " new ones (keep), pass over the item (skip)",
    )


def _add_run(to: argparse.ArgumentParser) -> None:
    group = to.add_argument_group("run")
    group.add_argument(
        "--workers", type=_positive, default=16, metavar="N", help="items at once (%(default)s)"
    )
    group.add_argument(
        "--retries",
        type=_count,
        default=6,
        metavar="N",
        help="times a request is made again after 429 or 5xx (%(default)s)",
    )
    group.add_argument("--dry-run", action="store_true", help="print what would be uploaded")
    group.add_argument("--json", action="store_true", help="print one line of JSON an item")
    group.add_argument(
        "--no-progress", dest="progress", action="store_false", help="no progress bar"
    )
    gate = group.add_mutually_exclusive_group()
    gate.add_argument("--env", metavar="NAME", help="Dataloop's environment, such as prod")
    gate.add_argument("--gate-url", type=_url, metavar="URL", help="another Dataloop gate")


def _positive(text: str) -> int:
    return _whole(text, 1)


def _count(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
    return int(text)


def _seconds(text: str) -> float:
    seconds = _number(text)
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds (0 to 86400)")
    return seconds


def _confidence(text: str) -> float:
    confidence = _number(text)
    if not 0 <= confidence <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return confidence


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise argparse.ArgumentTypeError(f"{text!r} is no URL such as http://localhost:9000")
    if parts.username or parts.password:
        raise argparse.ArgumentTypeError("a URL here holds no password; use the environment")
    return text.rstrip("/")


def _folder(text: str) -> str:
    return "/" + text.strip("/")


def _filter(text: str) -> Filter:
    """The conditions of a query: the query itself, or what stands under its key "filter"."""
    found = _json(_file(text[1:]) if text.startswith("@") else text)
    inner = found.get("filter", found) if isinstance(found, dict) else None
    if not isinstance(inner, dict) or not inner:
        example = '{"metadata.user.batch": "7"}'
        raise argparse.ArgumentTypeError(f"it must be a JSON object such as {example}")
    return inner


def _label_map(text: str) -> Mapping[str, str | None]:
    found = _json(_file(text))
    if not isinstance(found, dict) or not all(
        value is None or (isinstance(value, str) and value) for value in found.values()
    ):
        example = '{"tabby cat": "cat", "lynx": null}'
        raise argparse.ArgumentTypeError(f"{text} must hold a JSON object such as {example}")
    return cast("Mapping[str, str | None]", found)


def _file(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise argparse.ArgumentTypeError(f"can't read {name}: {why}") from error


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no JSON: {error}") from error
