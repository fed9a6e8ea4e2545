"""The benchmark's own arithmetic: what it makes of measurements, answers and processes."""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.bench import family, load
from tools.bench.arguments import parser
from tools.bench.models import Accelerator, rate
from tools.bench.names import OURS, RAW
from tools.bench.row import Row, Rows, Spread, spread
from tools.bench.running import ROOT, free_port, listening
from tools.bench.tables import Tables
from tools.bench.targets import Target, targets
from tools.bench.upload import Upload, form, tensors

TITLES = {OURS: "this server", "mosec": "Mosec"}


def row(system: str, number: int, rate: float, fault: str | None = None, load: str = "x") -> Row:
    return Row("a", load, system, number, {"rate": rate}, fault)


def test_a_figure_is_told_as_median_least_and_greatest() -> None:
    rows = Rows([row(OURS, 0, 5), row(OURS, 1, 1), row(OURS, 2, 2)])
    assert rows.spread("a", "x", OURS, "rate") == Spread(2, 1, 5)
    assert rows.spread("a", "x", "mosec", "rate") is None
    assert spread([]) is None


def test_ratios_are_taken_within_a_round_so_that_a_slow_round_harms_none() -> None:
    slow = [row(OURS, 1, 10), row("mosec", 1, 5)]
    rows = Rows([row(OURS, 0, 200), row("mosec", 0, 100), *slow, row(OURS, 2, 1)])
    assert rows.part("a", ("x", OURS), ("x", "mosec"), "rate") == Spread(2, 2, 2)


def test_who_answers_wrongly_once_has_no_figures_there() -> None:
    rows = Rows([row(OURS, 0, 5, load="y"), row(OURS, 0, 5), row(OURS, 1, 500, "1 was wrong")])
    assert rows.spread("a", "x", OURS, "rate") is None
    assert rows.spread("a", "y", OURS, "rate") == Spread(5, 5, 5)
    assert rows.pooled("a", "x", "rate") == Spread(252.5, 5, 500)
    assert rows.faults(OURS) == ["a (x): 1 was wrong"]
    assert rows.faults("mosec") == []


def test_the_tables_show_everyone_and_how_many_times_as_fast_this_server_is() -> None:
    rows = Rows(
        Row("b", size, system, number, {"rate": rate * (number + 1)})
        for size in ("5 kB", "200 kB")
        for system, rate in ((OURS, 3000.0), ("mosec", 2000.0))
        for number in (0, 1)
    )
    table = Tables(rows, TITLES).all()
    assert "| Mosec | 3,000 (2,000 to 4,000) | 1.50x | 3,000 (2,000 to 4,000) | 1.50x |" in table
    assert "| **this server** | 4,500 (3,000 to 6,000) | 1 |" in table


def test_a_target_is_met_by_its_median() -> None:
    assert Target("least", 0.9, Spread(0.9, 0.1, 1)).met
    assert not Target("least", 0.9, Spread(0.89, 0.1, 1)).met
    assert Target("most", 80, Spread(80, 1, 100), most=True).met
    assert not Target("most", 80, Spread(81, 1, 100), most=True).met
    assert not Target("nothing measured", 1, None).met


def test_targets_compare_with_the_limit_and_with_raw_sqlite() -> None:
    rows = Rows(
        [
            Row("a", "16 clients", OURS, 0, {"rate": 99, "limit": 100, "share": 0.99}),
            Row("a", "16 clients", "mosec", 0, {"rate": 90, "limit": 90, "share": 1.0}),
            Row("e", "accepts", OURS, 0, {"rate": 60}),
            Row("e", "accepts", RAW, 0, {"rate": 100}),
            Row("h", "get, 0", OURS, 0, {"p50": 1}),
            Row("h", "get, 1000000", OURS, 0, {"p50": 1.3}),
        ]
    )
    found = [each for each in targets(rows, TITLES) if each.found]
    assert [(each.what[0], each.met) for each in found] == [
        *(("a", True), ("a", False), ("e", False), ("h", False))
    ]


def test_the_ideal_schedule_is_full_batches_one_after_the_other() -> None:
    seconds = Accelerator.FIXED + 16 * Accelerator.EACH
    assert rate(workers=2) == pytest.approx(2 * 16 / seconds)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ('{"response": {"image": "photo-cat.jpg", "label": "cat"}}', True),
        ('[{"image": "tmpx1photo-cat.jpg", "label": "cat", "confidence": 1}]', True),
        (r'{"data":["{\"image\":\"photo-cat.jpg\",\"label\":\"cat\"}"]}', True),
        ('{"image": "photo-cat.jpg", "label": "dog"}', False),
        ('{"image": "photo-dog.jpg", "label": "cat"}', False),
        ("Internal Server Error", False),
    ],
)
def test_an_answer_is_right_if_it_names_the_file_and_what_it_shows(text: str, right: bool) -> None:
    assert Upload("photo-cat.jpg", "cat", Path("unread")).answered_by(text) is right


def test_both_shapes_of_a_body_hold_the_file(tmp_path: Path) -> None:
    upload = form(tmp_path, "photo-a.jpg", b"\xff\xd8bytes", "cat")
    assert b'filename="photo-a.jpg"' in upload.body.read_bytes()
    assert b"\r\n\r\n\xff\xd8bytes\r\n--" in upload.body.read_bytes()
    binary = tensors(tmp_path, "photo-a.jpg", b"\xff\xd8bytes", "cat")
    begin = int(binary.headers["Inference-Header-Content-Length"])
    assert binary.body.read_bytes()[begin:].endswith(b"\x07\0\0\0\xff\xd8bytes")


def test_a_family_ends_with_those_who_left_its_session(tmp_path: Path) -> None:
    mark, ready = uuid.uuid4().hex, tmp_path / "ready"
    os.mkfifo(ready)
    script = f"setsid sh -c 'trap \"\" TERM; echo up > {ready}; exec sleep 60' & sleep 60"
    command = [shutil.which("sh") or "", "-c", script]
    with subprocess.Popen(command, env=os.environ | {family.MARK: mark}) as root:
        assert ready.read_text() == "up\n"
        assert len(family.members(mark)) >= 2
        assert family.memory_mib(mark) > 0
        family.end(mark, root.pid, grace=0.2)
        assert family.members(mark) == set()


@pytest.fixture
def sink() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "tools.bench.sink", str(port)]
    with subprocess.Popen(command, cwd=ROOT) as process:
        assert listening(port)
        yield f"http://127.0.0.1:{port}"
        process.kill()


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
@pytest.mark.parametrize(("label", "right"), [("200000 bytes", True), ("another", False)])
def test_the_closed_loop_counts_right_answers_and_disqualifies_for_wrong_ones(
    sink: str, tmp_path: Path, label: str, right: bool
) -> None:
    upload = form(tmp_path, "photo-noise.jpg", bytes(5000), label)
    found = load.closed(sink, [upload], clients=2, seconds=1)
    assert (found.right > 0, found.wrong > 0) == (right, not right)
    assert bool(found.fault) is not right
    assert found.failed == 0
    assert found.rate == pytest.approx(found.right, rel=0.2)


@pytest.mark.parametrize("arguments", [["--peers", "nobody"], ["--workloads", "az"]])
def test_unknown_peers_and_workloads_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(arguments)
    assert "is none of" in capsys.readouterr().err
