"""Snapshots: everything at one moment, in pieces of bounded size."""

from pathlib import Path

import orjson

from server.prediction import Prediction, Status, accepted
from server.store.lines import Clearing, Deletion, parse
from server.store.snapshot import PIECE_BYTES, PIECE_ROWS, Piece
from server.store.sqlite import SQLiteStore
from tests.unit.store.stores import TIMINGS, UPLOAD, connections, made


async def read(store: SQLiteStore) -> tuple[list[Piece], list[Prediction | Deletion | Clearing]]:
    async with store.snapshot() as view:
        pieces = [piece async for piece in view.pieces()]
        assert view.results == sum(piece.results for piece in pieces)
    lines = [line for piece in pieces for line in piece.text.split(b"\n")]
    assert len(lines) == sum(piece.lines for piece in pieces)
    return pieces, [parse(line) for line in lines]


async def test_an_empty_store_has_no_pieces(store: SQLiteStore) -> None:
    assert await read(store) == ([], [])


async def test_it_holds_clearing_deletions_and_all_finished_results(store: SQLiteStore) -> None:
    await store.add(made(Status.SUCCESS))
    await store.delete_all()
    results = [made(status) for status in (Status.SUCCESS, Status.FAIL) for _ in range(3)]
    for each in results:
        await store.add(each)
    await store.add(made(), UPLOAD)
    await store.delete(results[1].request_id)
    _, (clearing, deletion, *rest) = await read(store)
    assert isinstance(clearing, Clearing)
    assert isinstance(deletion, Deletion)
    assert deletion.request_id == results[1].request_id
    expected = [await store.get(each.request_id) for each in results]
    assert rest == [each for each in expected if each]
    assert len(rest) == 5


async def test_what_is_written_later_is_not_in_it(store: SQLiteStore) -> None:
    first = made(Status.SUCCESS)
    await store.add(first)
    await store.journal.absorb({"before": 1})
    async with store.snapshot() as view:
        await store.add(made(Status.SUCCESS))
        await store.journal.absorb({"after": 1})
        await store.delete(first.request_id)
        lines = [parse(piece.text) async for piece in view.pieces()]
        assert lines == [first]
        assert (view.results, view.absorbed) == (1, {"before": 1})
        await store.journal.exported(view.last_change)
    assert await store.journal.waiting() == 2


async def test_its_last_change_is_known_after_all_were_exported(store: SQLiteStore) -> None:
    async with store.snapshot() as view:
        assert view.last_change == 0
    await store.add(made(Status.SUCCESS))
    async with store.snapshot() as view:
        last = view.last_change
    await store.journal.exported(last)
    async with store.snapshot() as view:
        assert view.last_change == last == 1


async def test_many_results_and_deletions_come_in_pieces(store: SQLiteStore) -> None:
    results = [made(Status.SUCCESS) for _ in range(2 * PIECE_ROWS + 5)]
    for each in results:
        await store.add(each) if each is results[0] else None
    for start in range(1, len(results), 500):
        await _add(store, results[start : start + 500])
    pieces, told = await read(store)
    assert told == results
    assert len(pieces) >= 3
    assert all(piece.lines <= PIECE_ROWS for piece in pieces)
    await _delete(store, results)
    pieces, told = await read(store)
    assert [each[0] for each in told if isinstance(each, Deletion)] == [
        each.request_id for each in results
    ]
    assert [piece.lines for piece in pieces] == [PIECE_ROWS, PIECE_ROWS, 5]


async def test_pieces_of_large_results_are_bounded_in_bytes(store: SQLiteStore) -> None:
    large = orjson.dumps("a" * 2**20)
    for _ in range(40):
        await store.add(accepted().succeeded(large, "cats@2", TIMINGS))
    pieces, told = await read(store)
    assert len(told) == 40
    assert max(len(piece.text) for piece in pieces) < PIECE_BYTES + 2**20 + 1000


async def test_a_piece_of_pending_ones_only_does_not_end_it(store: SQLiteStore) -> None:
    await _add(store, [made() for _ in range(PIECE_ROWS + 3)])
    last = made(Status.SUCCESS)
    await store.add(last)
    pieces, told = await read(store)
    assert told == [last]
    assert len(pieces) == 1


async def test_nothing_is_held_once_it_is_left(store: SQLiteStore, tmp_path: Path) -> None:
    await store.add(made(Status.SUCCESS))
    before = len(connections(tmp_path))
    async with store.snapshot() as view:
        assert len(connections(tmp_path)) == before + 1
        async for _ in view.pieces():
            break
    assert len(connections(tmp_path)) == before


async def _add(store: SQLiteStore, predictions: list[Prediction]) -> None:
    for each in predictions:
        await store.add(each, UPLOAD if each.status is Status.PENDING else None)


async def _delete(store: SQLiteStore, predictions: list[Prediction]) -> None:
    for each in predictions:
        await store.delete(each.request_id)
