"""The command line: what is wrong with it is said in one sentence, and at once."""

import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from tests.dataloop.conftest import COMMAND
from tests.server_process import ROOT
from tools.dataloop.arguments import Arguments, parse
from tools.dataloop.errors import UsageError

DATASET = ("--dataset-id", "d1")


def parsed(*given: str, **environ: str) -> Arguments:
    return parse(given, environ)


def refusal(*given: str) -> str:
    with pytest.raises(UsageError) as caught:
        parsed(*given)
    return str(caught.value)


def test_help_answers_in_under_0_3_seconds() -> None:
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        ended = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - began)
        assert "--dataset-id" in ended.stdout
    assert min(seconds) < 0.3


def test_checking_the_arguments_imports_nothing_heavy() -> None:
    code = "import sys, tools.dataloop_test; print(sorted(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not [
        name for name in ("dtlpy", "requests", "numpy", "PIL") if f"'{name}'" in ended.stdout
    ]


def test_the_server_needs_nothing_of_the_tools() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    own = {pin.partition("==")[0] for pin in groups["tools"]}
    shared = {"numpy", "pillow", "tqdm"}
    assert "dtlpy" in own
    assert not (own - shared) & set(
        re.findall(r"^([\w-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    )
    for path in (ROOT / "server").rglob("*.py"):
        assert not re.search(
            rf"^\s*(import|from) ({'|'.join(own - shared)}|tools)\b", path.read_text(), re.MULTILINE
        )


def test_a_wrong_flag_ends_with_one_line_and_code_2() -> None:
    ended = subprocess.run(
        [*COMMAND, *DATASET, "--workers", "0"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        "dataloop_test.py: argument --workers: '0' is no whole number from 1 on"
    ]


def test_items_are_named_once_each_in_their_order() -> None:
    assert parsed("--item-id", "b", "a", "--item-id", "b", "c").item_ids == ("b", "a", "c")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((), "one of the arguments --item-id --dataset-id is required"),
        ((*DATASET, "--item-id", "i"), "not allowed with argument"),
        (("--item-id", "i", "--limit", "3"), "--limit needs --dataset-id"),
        (("--item-id", "i", "--unannotated"), "--unannotated needs --dataset-id"),
        ((*DATASET, "--filter", "{"), "no JSON"),
        ((*DATASET, "--filter", "[1]"), "it must be a JSON object such as"),
        ((*DATASET, "--filter", "@/no/such"), "can't read /no/such: No such file"),
        ((*DATASET, "--label-map", "/no/such"), "can't read /no/such: No such file"),
        ((*DATASET, "--timeout", "nan"), "'nan' is no number of seconds"),
        ((*DATASET, "--min-confidence", "1.2"), "'1.2' is not between 0 and 1"),
        ((*DATASET, "--server", "localhost:9000"), "is no URL such as"),
        ((*DATASET, "--server", "http://me:secret@host"), "a URL here holds no password"),
        ((*DATASET, "--mode", "later"), "invalid choice: 'later'"),
        ((*DATASET, "--env", "rc", "--gate-url", "http://g"), "not allowed with argument"),
        ((*DATASET, "--server-key-env", "NO_SUCH"), "there is no environment variable NO_SUCH"),
        ((*DATASET, "--api-key", "secret"), "unrecognized arguments"),
    ],
)
def test_a_wrong_command_line_is_told_why(given: tuple[str, ...], sentence: str) -> None:
    assert sentence in refusal(*given)


def test_a_filter_may_be_a_whole_query_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "query.json"
    file.write_text('{"filter": {"$and": [{"name": "a.jpg"}]}}')
    assert parsed(*DATASET, "--filter", f"@{file}").filter == {"$and": [{"name": "a.jpg"}]}
    assert parsed(*DATASET, "--filter", '{"name": "a.jpg"}').filter == {"name": "a.jpg"}


@pytest.mark.parametrize("text", ["[]", '{"cat": 3}', '{"cat": ""}', "cat: dog"])
def test_a_label_map_is_labels_for_labels(tmp_path: Path, text: str) -> None:
    file = tmp_path / "map.json"
    file.write_text(text)
    assert "--label-map" in refusal(*DATASET, "--label-map", str(file))
    file.write_text('{"tabby cat": "cat", "lynx": null}')
    parsed_map = parsed(*DATASET, "--label-map", str(file)).label_map
    assert parsed_map == {"tabby cat": "cat", "lynx": None}


def test_the_servers_key_comes_from_the_environment() -> None:
    assert parsed(*DATASET).server_key is None
    assert parsed(*DATASET, SERVER_API_KEY="k1").server_key == "k1"
    assert parsed(*DATASET, "--server-key-env", "MINE", MINE="k2").server_key == "k2"
