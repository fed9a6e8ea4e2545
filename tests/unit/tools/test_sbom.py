"""The bill of materials: what is in it, and what must not be."""

import json
import re
from importlib.metadata import distribution

import pytest

pytest.importorskip("cyclonedx", reason="pip install -r requirements-dev.txt")

from cyclonedx.model import AttachedText
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component
from cyclonedx.model.license import DisjunctiveLicense, License, LicenseExpression

from tools import export_model, sbom

SPDX = DisjunctiveLicense(id="MIT")
CLASSIFIER = DisjunctiveLicense(name="License :: OSI Approved :: BSD License")
TEXT = DisjunctiveLicense(name="declared license of 'it'", text=AttachedText(content="Apache 2.0"))
FILE = DisjunctiveLicense(name="declared license file: LICENSE")


def component(*licences: License) -> Component:
    return Component(name="it", version="1", licenses=licences)


@pytest.mark.parametrize(
    ("licence", "named"),
    [
        (SPDX, ["MIT"]),
        (LicenseExpression("MPL-2.0 AND MIT"), ["MPL-2.0 AND MIT"]),
        (CLASSIFIER, ["BSD License"]),
        (TEXT, ["Apache 2.0"]),
        (FILE, []),
    ],
)
def test_a_licence_is_named_however_a_package_declares_it(
    licence: License, named: list[str]
) -> None:
    assert sbom.licences(component(licence)) == named


@pytest.mark.parametrize(
    "licence",
    [
        DisjunctiveLicense(id="AGPL-3.0-only"),
        LicenseExpression("MIT AND GPL-2.0-or-later"),
        DisjunctiveLicense(name="License :: OSI Approved :: GNU General Public License v3 (GPLv3)"),
        DisjunctiveLicense(id="CC-BY-NC-4.0"),
    ],
)
def test_a_licence_that_binds_users_is_objected_to(licence: License) -> None:
    (objection,) = sbom.objections(Bom(components=[component(licence)]))
    assert re.fullmatch("it is under .+: do without it.", objection)


def test_a_package_without_a_licence_is_objected_to() -> None:
    assert sbom.objections(Bom(components=[component(FILE)])) == [
        "it names no licence: look it up, or do without it."
    ]


def test_the_bill_names_the_server_and_its_model_and_conforms_to_cyclonedx() -> None:
    bom = Bom(components=[component(SPDX)])
    sbom.complete(bom)
    again = Bom.from_json(json.loads(sbom.written(bom)))  # type: ignore[attr-defined]
    assert again.metadata.component.name == "image-model-server"
    (model,) = (each for each in again.components if each.name != "it")
    hashes = {each.content for made in model.pedigree.ancestors for each in made.hashes}
    assert hashes == {export_model.WEIGHTS_SHA256}
    assert not sbom.objections(again)


@pytest.mark.parametrize(("package", "words"), [(0, "Apache License, Version 2.0"), (1, "MIT")])
def test_the_models_packages_carry_the_licences_that_the_bill_gives(
    package: int, words: str
) -> None:
    name = list(sbom.MODEL_LICENCES)[package]
    (file,) = (each for each in distribution(name).files or () if each.name == "LICENSE")
    assert words in file.read_text()
    notices = (sbom.ROOT / "THIRD_PARTY.md").read_text()
    assert name.replace("_", "-") in notices
