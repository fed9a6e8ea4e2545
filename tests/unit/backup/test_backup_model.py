"""Servers on one remote, in any order of what may happen, against a model of what is true."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from server.backup import exporter
from server.errors import NoBackupError
from server.prediction import Prediction, Status, Timings, accepted
from server.remote import RemoteError
from server.store import Limits, Upload
from tests.unit.backup.truth import Truth
from tests.unit.backup.worlds import Event, KilledError, Server, fail, imported, kill

HOUR = 3_600_000
WEEK = 8 * 24 * HOUR
NOON = 1_769_860_800_000
UPLOAD = Upload(b"cat", "cat.jpg")

which = st.integers(0, 2)
Trouble = tuple[int, str, int]
troubles: st.SearchStrategy[Trouble | None] = st.one_of(
    st.none(),
    st.tuples(
        st.integers(0, 3) | st.integers(0, 12),
        st.sampled_from(
            [
                "fail before",
                "fail after",
                "kill before",
                "kill after",
                "delete here",
                "delete all here",
                "record here",
                "finish here",
                "export there",
                "export all there",
                "import there",
                "delete there",
                "delete all there",
            ]
        ),
        which,
    ),
)


TROUBLED = ["export", "export all", "import"]
STEPS = [
    *("record", "accept", "finish", "delete", "delete all", "expire"),
    *("export a group", "restart", *3 * TROUBLED),
    *("put the clock back", "put the clock right", "let a week pass"),
    *("copy the disk", "go back to the copy"),
]


class Servers(RuleBasedStateMachine):
    """Two servers, or three; `LoneServer` is one, and weeks pass there."""

    counts = st.integers(2, 3)

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.time = NOON
        self.offset = 0
        self.patch.setattr(time, "time_ns", self.tick)
        self.patch.setattr(exporter, "GROUP_CHANGES", 2)
        self.patch.setattr(exporter, "MAX_GROUPS", 12)
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.servers: list[Server] = []
        self.copies: dict[int, Path] = {}
        self.fresh = 0

    def tick(self) -> int:
        self.time += 1
        return (self.time + self.offset) * 1_000_000

    @initialize(count=st.data())
    def begin(self, count: st.DataObject) -> None:
        number = count.draw(self.counts)
        self.truth = Truth(number)
        self.offsets = [0] * number
        self.runner.run(self._begin(number))

    async def _begin(self, number: int) -> None:
        for at in range(number):
            self.servers.append(Server(self.folder / f"{at}", self.folder / "backup"))
            await self._record(at, most=4)

    @rule(server=which, what=st.sampled_from(STEPS), trouble=troubles)
    def do(self, server: int, what: str, trouble: Trouble | None) -> None:
        at = server % len(self.servers)
        if what in TROUBLED:
            self.run(at, "record")
            self.run(at, what, trouble)
        else:
            self.run(at, what)

    # What clients do

    async def _record(self, at: int, most: int = 1) -> None:
        for _ in range(most):
            new = _finished(accepted())
            await self.servers[at].store.add(new)
            await self._learn(at, new.request_id)

    async def _accept(self, at: int) -> None:
        await self.servers[at].store.add(accepted(), UPLOAD)

    async def _finish(self, at: int) -> None:
        store = self.servers[at].store
        for _, request_id in await store.pending(0, 1):
            found = await store.accepted(request_id)
            assert found
            assert await store.finish(_finished(found.prediction))
            await self._learn(at, request_id)

    async def _learn(self, at: int, request_id: str) -> None:
        found = await self.servers[at].store.get(request_id)
        assert found
        assert found.completed_at
        known = self.truth.results.get(request_id)
        if not known or found.completed_at > (known.completed_at or 0):
            self.truth.results[request_id] = found

    async def _delete(self, at: int) -> None:
        for request_id in sorted(await self.servers[at].all())[1:4]:
            if await self.servers[at].store.delete(request_id) != Status.PENDING:
                self.truth.deleted[at].add(request_id)

    async def _delete_all(self, at: int) -> None:
        there = set(await self.servers[at].results())
        began = self.time + self.offset
        await self.servers[at].store.delete_all()
        rows = await self.servers[at].store._readers.fetch("SELECT cleared_at FROM clearing")
        assert rows[0][0] >= began
        self.truth.deleted[at] |= there
        self.truth.cleared[at] = max(self.truth.cleared[at], rows[0][0])

    async def _expire(self, at: int) -> None:
        self.truth.deleted[at] |= set(await self.servers[at].store.expire(Limits(None, 3), 1))

    # What servers do

    async def _export_a_group(self, at: int) -> None:
        await self.servers[at].exporter._export_next()

    async def _restart(self, at: int) -> None:
        self.servers[at].restart()

    async def _export(self, at: int) -> None:
        await self._confirming(at, self.servers[at].exporter.flush())

    async def _export_all(self, at: int) -> None:
        await self._confirming(at, self.servers[at].export_all())

    async def _confirming(self, at: int, export: Awaitable[object]) -> None:
        results = set(await self.servers[at].results())
        deleted, cleared = set(self.truth.deleted[at]), self.truth.cleared[at]
        await export
        self.truth.confirm(results, deleted, cleared)

    async def _import(self, at: int) -> None:
        server = self.servers[at]
        known, dead = set(self.truth.confirmed_results), self.truth.dead_for(at)
        try:
            await server.import_all()
        except NoBackupError:
            return
        there, alive = await server.results(), self.truth.alive()
        waiting = {
            key for (key,) in await server.store._readers.fetch("SELECT request_id FROM changes")
        }
        assert there.items() <= self.truth.results.items()
        assert not there.keys() & dead, "resurrected"
        assert not alive.keys() & known - there.keys(), "lost"
        assert not alive.keys() & waiting - there.keys() & set(alive), "lost what waits"

    async def _copy_the_disk(self, at: int) -> None:
        if len(self.servers) == 1:
            return  # its backup would hold more than it, for good
        await self.servers[at].store.close()
        self.copies[at] = self.folder / f"copy{at}"
        shutil.rmtree(self.copies[at], ignore_errors=True)
        shutil.copytree(self.servers[at].folder, self.copies[at])
        keep = self.servers[at].exporter
        self.servers[at].open()
        for name in ("_writer", "_number", "_groups", "_sent"):  # the copy is another's, unseen
            setattr(self.servers[at].exporter, name, getattr(keep, name))
        self.servers[at].exporter._snapshots._writer = keep._writer
        self.servers[at].exporter._snapshots._made = keep._snapshots._made

    async def _go_back_to_the_copy(self, at: int) -> None:
        if at not in self.copies:
            return
        await self._export(at)  # what it has since is not lost with the disk
        await self.servers[at].store.close()
        shutil.rmtree(self.servers[at].folder)
        shutil.copytree(self.copies[at], self.servers[at].folder)
        self.servers[at].open()

    # What befalls them

    async def _put_the_clock_back(self, at: int) -> None:
        self.offsets[at] -= HOUR

    async def _put_the_clock_right(self, at: int) -> None:
        self.offsets[at] = 0

    async def _let_a_week_pass(self, at: int) -> None:  # noqa: ARG002 - as all steps
        """Servers that share a prefix import as often as that; one alone need not."""
        for step in (self._export, self._import, self._export) if len(self.servers) > 1 else ():
            for each in range(len(self.servers)):
                self.offset = self.offsets[each]
                await step(each)
        self.copies.clear()
        self.time += WEEK

    # How it is run

    def step(self, name: str) -> Callable[[int], Awaitable[None]]:
        method: Callable[[int], Awaitable[None]] = getattr(self, f"_{name.replace(' ', '_')}")
        return method

    def run(self, at: int, what: str, trouble: Trouble | None = None) -> None:
        self.runner.run(self._run(at, self.step(what), trouble))

    async def _run(
        self,
        at: int,
        work: Callable[[int], Awaitable[None]],
        trouble: Trouble | None,
    ) -> None:
        self.offset = self.offsets[at]
        here = self.servers[at]
        before = await here.all()
        name = trouble[1] if trouble else ""
        if trouble:
            event = self._event(name, at, trouble[2])
            happens = {"after": event} if name.endswith("after") else {"before": event}
            here.remote.expect(trouble[0], **happens)
        try:
            await work(at)
        except (RemoteError, KilledError) as error:
            if isinstance(error, KilledError):
                here.restart()
            assert not name.endswith("here")
            assert await here.all() == before, "half an import"
        finally:
            here.remote.calm()

    def _event(self, name: str, here: int, there: int) -> Event:
        what, _, where = name.rpartition(" ")
        if where in {"before", "after"}:
            return fail if what == "fail" else kill
        others = [each for each in range(len(self.servers)) if each != here]
        places = [here] if where == "here" else others[there % 2 :][:1] or others[:1]

        async def event() -> None:
            for at in places:  # a lone server has no other
                self.offset = self.offsets[at]
                await self.step(what)(at)
                self.offset = self.offsets[here]

        return event

    def teardown(self) -> None:
        try:
            if self.servers:
                self.runner.run(self._settle())
        finally:
            self.runner.close()
            self.patch.undo()
            shutil.rmtree(self.folder)

    async def _settle(self) -> None:
        """A new server gets from the backup what is true; and so does each of these."""
        try:
            for step in (self._export, self._export_all):
                for at in range(len(self.servers)):
                    await step(at)
                    if len(self.servers) == 1 and await self.servers[0].results():
                        assert await self._imported() == await self.servers[0].results()
                assert await self._imported() == self.truth.alive()
            for at, server in enumerate(self.servers):
                await self._import(at)
                assert await server.results() == self.truth.alive()
        finally:
            for server in self.servers:
                await server.close()

    async def _imported(self) -> dict[str, Prediction]:
        self.fresh += 1
        try:
            return await imported(self.folder / f"fresh{self.fresh}", self.folder / "backup")
        except NoBackupError:
            return {}


class LoneServer(Servers):
    """One server."""

    counts = st.just(1)


def _finished(prediction: Prediction) -> Prediction:
    answer = f'{{"label":"{prediction.request_id[-3:]}"}}'.encode()
    return prediction.succeeded(answer, "cats@2", Timings(0.5, 1.25, 1 / 3))


limits = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestServers = Servers.TestCase
TestServers.settings = limits
TestLoneServer = LoneServer.TestCase
TestLoneServer.settings = limits
