"""The annotator: one item from its file to its annotations, in an order that loses nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tools.dataloop import annotations, findings
from tools.dataloop.arguments import Existing
from tools.dataloop.errors import ItemError
from tools.dataloop.findings import Finding, Frame
from tools.dataloop.gate import CHUNK, Gate, Item, Json, Target
from tools.dataloop.labels import Labels
from tools.dataloop.server import Answer, Model, Picture, Server, base_name

Ending = Literal["done", "planned", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item.

    Attributes:
        ending: `planned` is what a dry run would have done.
        uploaded: Annotations that were uploaded, or would be.
        removed: Annotations of the same model that were removed.
        why: Of an item that is skipped or failed.
    """

    item_id: str
    name: str
    ending: Ending
    findings: tuple[Finding, ...] = ()
    uploaded: int = 0
    removed: int = 0
    notes: tuple[str, ...] = ()
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Author:
    """Whose annotations are uploaded.

    Attributes:
        name: The model's name; an older annotation of this name is the same model's.
        model_id: None: what the server calls the model.
        served: The name@version of the model that the server has to run; None: any.
    """

    name: str
    model_id: str | None
    served: str | None

    def model(self, answer: Answer) -> Model:
        """The model of an answer.

        Raises:
            ItemError: It is another one than at the start.
        """
        if self.served and answer.model and base_name(answer.model) != base_name(self.served):
            raise ItemError(
                f"the server runs {answer.model} now, not {self.served}; start again, or give"
                " --model-name"
            )
        return Model(self.name, self.model_id or answer.model or self.name)


@dataclass(frozen=True, slots=True)
class Annotator:
    """Annotates items, several at once in as many threads.

    Attributes:
        min_confidence: Findings below are left out.
        dry_run: Upload and remove nothing.
    """

    gate: Gate
    server: Server
    labels: Labels
    author: Author
    existing: Existing
    min_confidence: float
    dry_run: bool

    def annotate(self, target: Target) -> Outcome:
        """Predict and check everything, upload the new, then remove the old.

        Raises:
            ItemError: The item keeps what it had, unless the sentence says otherwise.
        """
        item = self.gate.item(target) if isinstance(target, str) else target
        if item.mimetype and not item.mimetype.startswith("image/"):
            why = f"it is {item.mimetype}, not an image"
            return Outcome(item.id, item.name, "skipped", why=why)
        if self.existing == "skip" and self._has_some(item):
            why = f"it has annotations of {self.author.name}"
            return Outcome(item.id, item.name, "skipped", why=why)
        data = self.gate.download(item)
        answer = self.server.predict(
            Picture(item.name, item.mimetype or "application/octet-stream", data)
        )
        model = self.author.model(answer)
        found, notes = self._findings(answer, data, item)
        if self.dry_run:
            planned = len(found)
            return Outcome(item.id, item.name, "planned", tuple(found), planned, notes=tuple(notes))
        return self._write(item, model, found, notes)

    def _findings(self, answer: Answer, data: bytes, item: Item) -> tuple[list[Finding], list[str]]:
        found, notes = findings.read(answer.response, Frame.of(data))
        sure = [each for each in found if each.confidence >= self.min_confidence]
        labelled, more = self.labels.apply(sure, item.dataset_id)
        return labelled, notes + more

    def _write(
        self, item: Item, model: Model, found: Sequence[Finding], notes: Sequence[str]
    ) -> Outcome:
        bodies = [annotations.made(each, item, model) for each in found]
        uploaded = Upload(self.gate, item).all(bodies)
        removed, edited = 0, 0
        if self.existing == "replace-model":
            removed, edited = self._remove_older(item, model, uploaded)
        kept = (f"{edited} that a person has changed since stay",) if edited else ()
        return Outcome(
            item.id, item.name, "done", tuple(found), len(uploaded), removed, (*notes, *kept)
        )

    def _remove_older(self, item: Item, model: Model, uploaded: Sequence[Json]) -> tuple[int, int]:
        try:
            there = self.gate.annotations(item, model.name)
            ids, edited = annotations.older(there, model, uploaded)
            self.gate.delete(item, ids)
        except ItemError as error:
            raise ItemError(
                f"{len(uploaded)} new annotations are uploaded, but the model's older ones are"
                f" not removed ({error}); annotate it again"
            ) from error
        return len(ids), edited

    def _has_some(self, item: Item) -> bool:
        there = self.gate.annotations(item, self.author.name)
        return any(annotations.is_of(each, self.author.name) for each in there)


@dataclass(frozen=True, slots=True)
class Upload:
    """All annotations of an item, or none."""

    gate: Gate
    item: Item
    _kept: list[Json] = field(default_factory=list)

    def all(self, bodies: Sequence[Json]) -> list[Json]:
        """Upload them; what the gate says it has put there.

        Raises:
            ItemError: The gate did not take them all; those that it took are removed again.
        """
        for start in range(0, len(bodies), CHUNK):
            chunk = bodies[start : start + CHUNK]
            try:
                taken = self.gate.upload(self.item, chunk)
            except ItemError as error:
                raise self._undone(str(error)) from error
            self._kept.extend(taken)
            if len(taken) != len(chunk):
                raise self._undone(f"the gate took {len(taken)} of {len(chunk)} annotations")
        return self._kept

    def _undone(self, why: str) -> ItemError:
        ids = [str(each["id"]) for each in self._kept]
        if not ids:
            return ItemError(why)
        try:
            self.gate.delete(self.item, ids)
        except ItemError as error:
            return ItemError(
                f"{why}; {len(ids)} that were uploaded are not removed again ({error}):"
                " annotate it again"
            )
        return ItemError(f"{why}; the {len(ids)} uploaded before are removed again")
