"""Labels: the model's turned into the recipe's."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tools.dataloop.arguments import MissingLabels
from tools.dataloop.errors import ItemError
from tools.dataloop.findings import Finding
from tools.dataloop.gate import Gate


class Labels:
    """What becomes of a finding's label.

    Args:
        gate: Tells the labels of recipes, and takes new ones.
        label_map: Labels with those to upload instead; None: the finding is left out.
        missing: What to do about a label that the recipe lacks.
        dry_run: Add nothing.
    """

    def __init__(
        self,
        gate: Gate,
        label_map: Mapping[str, str | None],
        missing: MissingLabels,
        *,
        dry_run: bool,
    ) -> None:
        self._gate = gate
        self._map = label_map
        self._missing = missing
        self._dry_run = dry_run
        self._known: dict[str, set[str]] = {}  # by dataset
        self._lock = threading.Lock()  # one thread asks, or adds

    def apply(
        self, findings: Sequence[Finding], dataset_id: str
    ) -> tuple[list[Finding], list[str]]:
        """The findings to upload under the labels to upload, and notes on what is left out.

        Raises:
            ItemError: The recipe lacks a label, and that is an error.
        """
        mapped = [(each, self._map.get(each.label, each.label)) for each in findings]
        kept = [replace(each, label=label) for each, label in mapped if label is not None]
        dropped = len(mapped) - len(kept)
        notes = [f"{dropped} left out by --label-map"] if dropped else []
        kept, doubled = _surest(kept)
        if doubled:
            notes.append(f"{doubled} classes left out beside surer ones of the same label")
        if self._missing == "upload" or not kept:
            return kept, notes
        lacking = self._lacking(dataset_id, {each.label for each in kept})
        if not lacking:
            return kept, notes
        names = ", ".join(lacking)
        if self._missing == "add":
            would = "would be " if self._dry_run else ""
            return kept, [*notes, f"{would}added to the recipe: {names}"]
        if self._missing == "skip":
            notes.append(f"left out, for the recipe lacks them: {names}")
            return [each for each in kept if each.label not in lacking], notes
        raise ItemError(
            f"the dataset's recipe lacks {names}; add them to it, or choose"
            " --missing-labels add, skip or upload, or a --label-map"
        )

    def _lacking(self, dataset_id: str, labels: set[str]) -> list[str]:
        """Which labels the recipe lacks; in the end it may have them."""
        with self._lock:
            if dataset_id not in self._known:
                self._known[dataset_id] = self._gate.labels(dataset_id)
            lacking = sorted(labels - self._known[dataset_id])
            if lacking and self._missing == "add":
                if not self._dry_run:
                    self._gate.add_labels(dataset_id, lacking)
                self._known[dataset_id].update(lacking)
        return lacking


def _surest(findings: Sequence[Finding]) -> tuple[list[Finding], int]:
    """The findings with each class once, the surest; and how many classes are left out."""
    best: dict[str, Finding] = {}
    for each in findings:
        if each.kind == "class" and each.confidence > _confidence(best.get(each.label)):
            best[each.label] = each
    kept = [each for each in findings if each.kind != "class" or best[each.label] is each]
    return kept, len(findings) - len(kept)


def _confidence(finding: Finding | None) -> float:
    return -1.0 if finding is None else finding.confidence
