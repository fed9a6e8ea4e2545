"""Dataloop's annotations: made of findings, and told apart by whose they are."""

from collections.abc import Collection, Mapping
from typing import Any

import dtlpy
import numpy as np

from tools.dataloop.findings import Finding
from tools.dataloop.gate import Item, Json
from tools.dataloop.server import Model


def made(finding: Finding, item: Item, model: Model) -> Json:
    """The annotation of a finding, as the gate takes it."""
    information = {
        "name": model.name,
        "model_id": model.model_id,
        "confidence": finding.confidence,
    }
    # in both places, as Dataloop's own model adapters write it
    metadata = {"user": {"model": information}, "system": {"model": dict(information)}}
    annotation = dtlpy.Annotation.new(
        annotation_definition=_definition(finding), automated=True, metadata=metadata
    )
    body = annotation.to_json() | {"itemId": item.id, "datasetId": item.dataset_id}
    return {key: value for key, value in body.items() if value is not None}


def older(
    found: Collection[Json], model: Model, uploaded: Collection[Json]
) -> tuple[list[str], int]:
    """The ids of a model's annotations that a new upload replaces, and how many others stay.

    The ones to replace are all of the model's that are neither part of the upload nor newer than
    it: leftovers of an interrupted run too. An annotation that someone has changed since is that
    person's, and stays; so does one that another run uploaded later.

    Args:
        found: Every annotation on the item.
        model: Whose annotations were uploaded.
        uploaded: What the gate answered to the upload.
    """
    ours = {each["id"] for each in uploaded}
    newest = max((str(each.get("createdAt") or "") for each in uploaded), default="")
    replaced, edited = [], 0
    for each in found:
        if each["id"] in ours or not is_of(each, model.name):
            continue
        if newest and str(each.get("createdAt") or "") > newest:
            continue
        if _edited(each):
            edited += 1
        else:
            replaced.append(str(each["id"]))
    return replaced, edited


def is_of(annotation: Json, model_name: str) -> bool:
    """Whether a model made an annotation."""
    metadata = annotation.get("metadata") or {}
    return model_name in (_name(metadata.get("user")), _name(metadata.get("system")))


def _name(room: object) -> object:
    model = room.get("model") if isinstance(room, Mapping) else None
    return model.get("name") if isinstance(model, Mapping) else None


def _edited(annotation: Json) -> bool:
    """Whether another than the one who uploaded it has changed it."""
    creator, editor = annotation.get("creator"), annotation.get("updatedBy")
    return bool(creator and editor and creator != editor)


def _definition(finding: Finding) -> Any:  # Any: dtlpy has no types
    label = finding.label
    match finding.kind:
        case "class":
            return dtlpy.Classification(label=label)
        case "box":
            (left, top), (right, bottom) = finding.points
            return dtlpy.Box(left=left, top=top, right=right, bottom=bottom, label=label)
        case "polygon":
            return dtlpy.Polygon(geo=np.asarray(finding.points), label=label)
        case "mask":
            return dtlpy.Segmentation(geo=finding.mask, label=label)
        case "point":
            ((x, y),) = finding.points
            return dtlpy.Point(x=x, y=y, label=label)
