"""The tool: all parts put together for one command line, and the exit code."""

import threading
from typing import Final

from tools.dataloop import transport
from tools.dataloop.annotator import Annotator, Author
from tools.dataloop.arguments import Arguments
from tools.dataloop.errors import UsageError
from tools.dataloop.gate import Gate
from tools.dataloop.labels import Labels
from tools.dataloop.login import log_in
from tools.dataloop.report import Report
from tools.dataloop.retries import Retries
from tools.dataloop.run import Run, finishing_on_signals
from tools.dataloop.selection import Selection
from tools.dataloop.server import Server, base_name

MOST_IDS: Final = 100
"""Failed items that fit a command line to copy."""


def annotate(arguments: Arguments) -> int:
    """Annotate what a command line asks for; its exit code.

    Raises:
        ToolError: Nothing was begun.
    """
    stop = threading.Event()
    retries = Retries(arguments.retries, stop)
    server = _server(arguments, retries)
    author = _author(arguments, server)
    gate = Gate(log_in(arguments), retries)
    gate.check_login()
    selection = Selection(arguments, gate)
    report = Report(
        selection.count(),
        progress=arguments.progress,
        as_json=arguments.json,
        single=bool(arguments.item_ids),
    )
    run = Run(_annotator(arguments, gate, server, author), arguments.workers, stop)
    with finishing_on_signals(stop, report.say):
        run.over(selection.targets(), report.add)
    report.finish()
    rest = run.rest()
    if rest:
        report.offer("Not all items were done. To go on", selection.rest(*rest))
    if report.failed:
        ids = [each.item_id for each in report.failed[:MOST_IDS]]
        report.offer("To try the failed items again", selection.again(ids))
    if run.broken_by:
        raise run.broken_by
    return 1 if rest or report.failed else 0


def _server(arguments: Arguments, retries: Retries) -> Server:
    http = transport.session(arguments.server, arguments.workers)
    if arguments.server_key:
        http.headers["Authorization"] = f"Bearer {arguments.server_key}"
    return Server(arguments.server, http, arguments.mode, arguments.timeout, retries)


def _author(arguments: Arguments, server: Server) -> Author:
    """Whose annotations these will be: the model of the command line, else the server's."""
    served = server.model()
    name = arguments.model_name or base_name(served or "")
    if not name:
        raise UsageError("the server does not tell its model's name; give --model-name")
    return Author(name, arguments.model_id, None if arguments.model_name else served)


def _annotator(arguments: Arguments, gate: Gate, server: Server, author: Author) -> Annotator:
    labels = Labels(gate, arguments.label_map, arguments.missing_labels, dry_run=arguments.dry_run)
    return Annotator(
        gate=gate,
        server=server,
        labels=labels,
        author=author,
        existing=arguments.existing,
        min_confidence=arguments.min_confidence,
        dry_run=arguments.dry_run,
    )
