"""Every failure ends with a sentence and the right exit code, and the run goes on."""

import pytest

from tests.dataloop.conftest import Ended, Serve, Tool, go_on, picture, run_tool
from tests.dataloop.gate import DATASET, Fault, Gate, token

ANY_LABEL = ("--missing-labels", "upload")
STREAM = "GET /items/[^/]+/stream"
UPLOAD = "POST /items/[^/]+/annotations"
QUERY = "POST /datasets/[^/]+/query items"
ONE = "0" * 23 + "1"


@pytest.fixture
def server(serve: Serve) -> str:
    return serve("Patch").url


def run_over_three(gate: Gate, tool: Tool, server: str, *more: str) -> Ended:
    for _ in range(3):
        gate.add_item(picture())
    return tool("--dataset-id", DATASET, "--server", server, *ANY_LABEL, *more)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault(f"GET /items/{ONE}/stream", 403, "not yours"), "the gate answers 403: not yours"),
        (Fault(f"GET /items/{ONE}/stream", 404, "no file"), "the gate answers 404: no file"),
        (Fault(f"GET /items/{ONE}/stream", 429, "slow"), "the gate answers 429: slow"),
        (Fault(f"GET /items/{ONE}/stream", 500, "ill"), "the gate answers 500: ill"),
        (Fault(f"GET /items/{ONE}/stream", 503, ""), "the gate answers 503: Service Unavailable"),
        (Fault(f"GET /items/{ONE}/stream", truncate=True), "the download broke off"),
        (Fault(f"POST /items/{ONE}/annotations", 400, "bad x"), "the gate answers 400: bad x"),
        (Fault(f"POST /items/{ONE}/annotations", 403, "no"), "the gate answers 403: no"),
        (Fault(f"POST /items/{ONE}/annotations", 429, "slow"), "the gate answers 429: slow"),
        (Fault(f"POST /items/{ONE}/annotations", 500, "ill"), "the gate answers 500: ill"),
        (
            Fault(f"POST /items/{ONE}/annotations", 429, "x", {"Retry-After": "3600"}),
            "the gate answers 429: x (it asks to wait 3600 s)",
        ),
    ],
)
def test_one_bad_item_is_named_and_the_others_are_done(
    gate: Gate, tool: Tool, server: str, fault: Fault, sentence: str
) -> None:
    gate.faults.append(fault)
    ended = run_over_three(gate, tool, server, "--retries", "1")
    assert ended.code == 1
    assert f"failed  {ONE} photo.jpg: {sentence}" in ended.err
    assert "2 of 3 items annotated" in ended.err
    assert f"To try the failed items again: dataloop_test.py --item-id {ONE}" in ended.err
    assert [len(gate.of(item)) for item in gate.items] == [0, 5, 5]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_fails_for_now_is_tried_again(
    gate: Gate, tool: Tool, server: str, status: int
) -> None:
    for request in (STREAM, UPLOAD, QUERY, "GET /users/me"):
        gate.faults.append(Fault(request, status, times=1, headers={"Retry-After": "0"}))
    assert run_over_three(gate, tool, server).code == 0
    assert [len(gate.of(item)) for item in gate.items] == [5, 5, 5]


def test_a_truncated_download_is_downloaded_again(gate: Gate, tool: Tool, server: str) -> None:
    gate.faults.append(Fault(STREAM, truncate=True, times=1))
    assert run_over_three(gate, tool, server).code == 0
    assert gate.seen["GET /items/{id}/stream"] == 4


def test_a_download_of_another_size_is_not_taken(gate: Gate, tool: Tool, server: str) -> None:
    item = gate.add_item(picture(), size=1_000_000)
    ended = tool("--item-id", item, "--server", server, "--retries", "0", *ANY_LABEL)
    assert ended.code == 1
    assert f"the download has {len(picture()):,} bytes, the item 1,000,000" in ended.err


def test_a_batch_that_is_taken_in_part_is_taken_back(gate: Gate, tool: Tool, server: str) -> None:
    item = gate.add_item(picture())
    gate.takes = 3
    ended = tool("--item-id", item, "--server", server, *ANY_LABEL)
    assert ended.code == 1
    assert "the gate took 3 of 5 annotations; the 3 uploaded before are removed again" in ended.err
    assert gate.of(item) == []


def test_an_item_that_is_not_there_is_named(gate: Gate, tool: Tool, server: str) -> None:
    there = gate.add_item(picture())
    ended = tool("--item-id", "no/such", there, "--server", server, *ANY_LABEL)
    assert ended.code == 1
    assert "failed  no/such: the gate answers 404" in ended.err
    assert len(gate.of(there)) == 5


def test_a_dataset_that_is_not_there_is_no_empty_one(tool: Tool, server: str) -> None:
    ended = tool("--dataset-id", "none", "--server", server)
    assert ended.code == 2
    assert "the items of dataset none can't be listed: the gate answers 404: Data" in ended.err


def test_a_gate_that_can_list_nothing_is_told(gate: Gate, tool: Tool, server: str) -> None:
    gate.faults.append(Fault(QUERY, 500, "ill"))
    ended = tool("--dataset-id", DATASET, "--server", server, "--retries", "0")
    assert ended.code == 2
    assert f"the items of dataset {DATASET} can't be listed: the gate answers 500: ill" in ended.err


def test_a_filter_that_the_gate_does_not_take_finds_not_nothing(tool: Tool, server: str) -> None:
    query = ("--filter", '{"a": {"$wrong": 1}}')
    ended = tool("--dataset-id", DATASET, *query, "--server", server)
    assert ended.code == 2
    assert "the gate answers 400: unknown operator $wrong" in ended.err


def test_a_list_that_breaks_off_is_told_with_the_way_on(
    gate: Gate, tool: Tool, server: str
) -> None:
    for _ in range(120):  # more than a page
        gate.add_item(picture())
    gate.faults.append(Fault(QUERY, 500, "ill", skip=2, times=1))
    ended = tool("--dataset-id", DATASET, "--server", server, "--retries", "0", *ANY_LABEL)
    assert ended.code == 1
    assert ended.err.endswith("dataloop_test.py: the gate answers 500: ill\n")
    assert go_on(gate, ended).code == 0
    assert {len(gate.of(item)) for item in gate.items} == {5}


def test_a_token_that_expires_stops_the_run(gate: Gate, tool: Tool, server: str) -> None:
    def expire() -> None:
        gate.token = token()[:-4] + "bmV3"

    gate.faults.append(Fault(UPLOAD, 500, "x", times=1, meet=expire))
    ended = run_over_three(gate, tool, server, "--workers", "1")
    assert ended.code == 2
    assert ended.err.endswith("dataloop_test.py: the gate answers 401: jwt expired\n")
    assert "To go on:" in ended.err


def test_a_server_that_is_not_there_is_told_at_once(tool: Tool) -> None:
    ended = tool("--item-id", "x", "--server", "http://127.0.0.1:9")
    assert ended.code == 2
    assert ended.err == (
        "dataloop_test.py: the server at http://127.0.0.1:9 can't be reached: connection refused;"
        " --server names its address\n"
    )


def test_an_address_of_something_else_is_told(gate: Gate, tool: Tool) -> None:
    ended = tool("--item-id", "x", "--server", f"{gate.url}/somewhere")
    assert (ended.code, "answers 404: Not Found; --server names" in ended.err) == (2, True)


def test_the_servers_key_is_sent_to_it(
    gate: Gate, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dataloop's own address plays the server: it asks for the gate's token as its key."""
    target = ("--item-id", "x", "--server", f"{gate.url}/api/v1")
    ended = tool(*target)
    assert (ended.code, "answers 401: Unauthorized; its key is taken" in ended.err) == (2, True)
    monkeypatch.setenv("SERVER_API_KEY", gate.token)
    ended = tool(*target)
    assert (ended.code, "answers 404: Not Found" in ended.err) == (2, True)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_fails_for_now_is_asked_again_for_the_same(
    gate: Gate, tool: Tool, status: int
) -> None:
    items = gate.add_item(picture()), gate.add_item(picture())
    gate.faults.append(Fault("POST /predict", status, times=2, headers={"Retry-After": "0"}))
    ended = tool("--item-id", *items, "--server", gate.url, "--workers", "1", *ANY_LABEL)
    assert ended.code == 0, ended.err
    assert [len(gate.of(item, "played")) for item in items] == [1, 1]
    first, second, third, other = gate.keys
    assert first == second == third != other


def test_a_server_that_stays_ill_fails_its_items(gate: Gate, tool: Tool) -> None:
    item = gate.add_item(picture())
    gate.faults.append(Fault("POST /predict", 503))
    ended = tool("--item-id", item, "--server", gate.url, "--retries", "1", *ANY_LABEL)
    assert ended.code == 1
    assert f"the server at {gate.url} answers 503: Service Unavailable" in ended.err


def test_what_the_server_refuses_is_one_items_failure(gate: Gate, tool: Tool, server: str) -> None:
    text, fine = gate.add_item(b"no image", "a.txt"), gate.add_item(picture())
    ended = tool("--item-id", text, fine, "--server", server, *ANY_LABEL)
    assert ended.code == 1
    assert "answers 415: These bytes are no image this server takes" in ended.err
    assert len(gate.of(fine)) == 5


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_model_that_fails_is_told_and_not_asked_again(
    gate: Gate, tool: Tool, serve: Serve, mode: str
) -> None:
    server = serve("Failing").url
    item = gate.add_item(picture())
    ended = tool("--item-id", item, "--server", server, "--mode", mode, *ANY_LABEL)
    assert ended.code == 1
    assert "the model failed: " in ended.err
    assert "ValueError: no such thing" in ended.err


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_an_answer_that_takes_too_long_is_not_waited_for(
    gate: Gate, tool: Tool, serve: Serve, mode: str
) -> None:
    item = gate.add_item(picture())
    arguments = ("--server", serve("Slow").url, "--mode", mode, "--timeout", "0.3")
    ended = tool("--item-id", item, *arguments, *ANY_LABEL)
    assert ended.code == 1
    assert "within 0.3 s (--timeout)" in ended.err


def test_items_that_are_no_images_are_passed_over(gate: Gate, tool: Tool, server: str) -> None:
    film = gate.add_item(b"film", "a.mp4", mimetype="video/mp4")
    ended = tool("--item-id", film, "--server", server)
    assert ended.code == 0
    assert f"skipped  {film} a.mp4: it is video/mp4, not an image" in ended.err


def test_no_failure_prints_a_traceback(gate: Gate, serve: Serve) -> None:
    """As a user starts it, with all that dtlpy logs."""
    gate.faults.append(Fault(STREAM, 500, "ill", times=2))
    gate.faults.append(Fault(UPLOAD, 400, "bad x"))
    items = [gate.add_item(picture()), "nope"]
    ended = run_tool(gate, "--item-id", *items, "--server", serve("Patch").url, *ANY_LABEL)
    assert ended.code == 1
    assert ended.out == ""
    lines = ended.err.splitlines()
    assert len(lines) == 4, ended.err
    assert sorted(line.split()[0] for line in lines) == ["0", "To", "failed", "failed"]
