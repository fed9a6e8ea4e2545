"""The documents: what they say of the code is true."""

import re
from pathlib import Path

from server.errors import BY_CODE
from server.prediction import TRANSITIONS
from server.settings import Settings
from tools.bench.arguments import parser as bench_parser
from tools.dataloop.arguments import parser

ROOT = Path(__file__).parent.parent
OF_CURL = {"--data-binary", "--cacert"}
OF_DEPLOYING = {"--build", "--wait", "--from-file", "--from-env-file", "--now"}
OF_DOCKER = {
    *("--build-arg", "--cpus", "--memory", "--user", "--stop-timeout", "--no-cache-dir"),
    *("--read-only", "--tmpfs", "--cap-drop", "--security-opt"),
}


def test_the_drawn_states_are_those_of_the_table() -> None:
    edges = [
        *(f"[*] --> {status}" for status, following in TRANSITIONS.items() if following),
        *(f"{status} --> {one}" for status, after in TRANSITIONS.items() for one in sorted(after)),
        *(f"{status} --> [*]" for status in sorted(TRANSITIONS) if not TRANSITIONS[status]),
    ]
    drawn = "\n".join(["stateDiagram-v2", *(f"    {edge}" for edge in edges)])
    assert f"```mermaid\n{drawn}\n```" in (ROOT / "docs/states.md").read_text()


def test_the_readme_shows_the_example_model_as_it_is() -> None:
    model = (ROOT / "examples/day_or_night.py").read_text()
    assert len(model.splitlines()) <= 15
    assert f"```python\n{model}```" in (ROOT / "README.md").read_text()


def test_the_dockerfile_for_a_model_of_ones_own_is_shown_as_it_is() -> None:
    shown = f"```dockerfile\n{(ROOT / 'examples/Dockerfile').read_text()}```"
    for document in ("README.md", "docs/container.md"):
        assert shown in (ROOT / document).read_text()


def test_every_flag_that_a_document_names_exists() -> None:
    known = {f"--{name.replace('_', '-')}" for name in Settings.model_fields} | {"--help"}
    for help_ in (parser().format_help(), bench_parser().format_help()):
        known |= set(re.findall(r"--[a-z-]+", help_))
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        named = set(re.findall(r"(?<=[`\s\"])--[a-z][a-z0-9-]+", document.read_text()))
        assert named - OF_CURL - OF_DEPLOYING - OF_DOCKER <= known, document


def test_each_error_has_one_line_and_is_what_the_line_says() -> None:
    table = (ROOT / "docs/errors.md").read_text()
    lines = re.findall(r"^\| `(\w+)` \| (\d+) \| .+ \| .+ \|$", table, re.MULTILINE)
    assert sorted(lines) == sorted((code, str(error.status)) for code, error in BY_CODE.items())
    assert [status for _, status in lines] == sorted(status for _, status in lines)
