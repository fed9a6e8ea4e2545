"""The report: what is printed of a run, for people and for programs."""

import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from tabulate import tabulate
from tqdm import tqdm

from tools.dataloop.annotator import Outcome
from tools.dataloop.findings import Finding

COMMAND: Final = "dataloop_test.py"
HEADERS: Final = ("item", "name", "type", "label", "confidence", "where")


class Report:
    """Gathers outcomes; the progress and the summary go to stderr, everything else to stdout.

    Args:
        total: How many items there will be.
        progress: Whether to draw a bar, on a terminal.
        as_json: One line of JSON for each item.
        single: Items were named one by one: each is told when it is done.
    """

    def __init__(self, total: int, *, progress: bool, as_json: bool, single: bool) -> None:
        self._json = as_json
        self._single = single
        self._began = time.monotonic()
        self._endings: Counter[str] = Counter()
        self._changes: Counter[str] = Counter()
        self.failed: list[Outcome] = []
        self._planned: list[Outcome] = []
        self._bar = tqdm(
            total=total, unit="item", file=sys.stderr, disable=None if progress else True
        )

    def add(self, outcome: Outcome) -> None:
        """Take note of an item that is done with."""
        self._endings[outcome.ending] += 1
        self._changes.update(uploaded=outcome.uploaded, removed=outcome.removed)
        if outcome.ending == "failed":
            self.failed.append(outcome)
            self._bar.set_postfix(failed=len(self.failed), refresh=False)
        self._bar.update()
        if self._json:
            with tqdm.external_write_mode(sys.stdout):
                print(json.dumps(_line(outcome)), flush=True)
        elif outcome.ending == "planned":
            self._planned.append(outcome)
        elif self._single and outcome.ending != "failed":
            self.say(_told(outcome))

    @property
    def count(self) -> int:
        """How many items are done with."""
        return self._endings.total()

    def say(self, sentence: str) -> None:
        """Tell a person something, beside the bar."""
        tqdm.write(sentence, file=sys.stderr)

    def finish(self) -> None:
        """Print the table of a dry run, the items that failed and the summary."""
        self._bar.close()
        if self._planned:
            print(tabulate(_rows(self._planned), headers=HEADERS, disable_numparse=True))
            for each in self._planned:
                for note in each.notes:
                    print(f"{each.item_id} {each.name}: {note}")
        for outcome in self.failed:
            self.say(_told(outcome))
        self.say(self._summary())

    def offer(self, reason: str, arguments: Sequence[str]) -> None:
        """Tell a person the command line to go on with."""
        self.say(f"{reason}: {shlex.join([*_command(), *arguments])}")

    def _summary(self) -> str:
        seconds = time.monotonic() - self._began
        rate = self.count / seconds if seconds else 0
        ends, changes = self._endings, self._changes
        would = "would be " if ends["planned"] else ""
        many = f"{ends['done'] + ends['planned']} of {self.count} items"
        parts = [f"{many} {would}annotated in {seconds:.1f} s ({rate:.1f} a second)"]
        parts += [f"{ends[each]} {each}" for each in ("skipped", "failed") if ends[each]]
        written = f"{changes['uploaded']} {would}uploaded"
        if not would:
            written += f", {changes['removed']} older removed"
        return f"{', '.join(parts)}; annotations: {written}"


def _command() -> list[str]:
    """The words before the arguments, as the user typed them."""
    if not sys.argv[0].endswith(COMMAND):
        return [COMMAND]
    return sys.orig_argv[: len(sys.orig_argv) - len(sys.argv[1:])]


def _line(outcome: Outcome) -> dict[str, Any]:  # Any: as JSON has it
    line: dict[str, Any] = {
        "item_id": outcome.item_id,
        "name": outcome.name,
        "status": outcome.ending,
        "uploaded": outcome.uploaded,
        "removed": outcome.removed,
        "annotations": [_found(each) for each in outcome.findings],
    }
    if outcome.notes:
        line["notes"] = outcome.notes
    if outcome.why:
        line["why"] = outcome.why
    return line


def _found(finding: Finding) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": finding.kind,
        "label": finding.label,
        "confidence": finding.confidence,
    }
    if finding.points:
        found["points"] = finding.points
    return found


def _told(outcome: Outcome) -> str:
    item = f"{outcome.item_id} {outcome.name}".rstrip()
    if outcome.why:
        return f"{outcome.ending}  {item}: {outcome.why}"
    labels = ", ".join(f"{each.label} {each.confidence:.2f}" for each in outcome.findings[:5])
    more = "" if len(outcome.findings) <= 5 else ", ..."
    notes = "".join(f"; {note}" for note in outcome.notes)
    return (
        f"{item}: {outcome.uploaded} uploaded ({labels or 'none'}{more}),"
        f" {outcome.removed} older removed{notes}"
    )


def _rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for outcome in outcomes:
        item = (outcome.item_id, outcome.name)
        rows += [
            (*item, each.kind, each.label, f"{each.confidence:.3f}", each.place())
            for each in outcome.findings
        ]
        if not outcome.findings:
            rows.append((*item, "nothing", "", "", ""))
    return rows
