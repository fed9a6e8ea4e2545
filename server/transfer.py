"""The commands `import` and `export`: one transfer while no server runs, with a progress bar."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

from tqdm import tqdm

from server.backup.backups import Backups
from server.backup.job import Job
from server.errors import ServerError
from server.remote.connect import connect
from server.settings import Settings
from server.store.database import StoreUnusableError
from server.store.lock import DataDirInUseError
from server.store.saved_images import SavedImages
from server.store.sqlite import SQLiteStore

DRAW_SECONDS = 0.1


async def transfer(what: str, settings: Settings) -> int:
    """Import or export everything; the exit code: 0 well, 1 failed, and the reason on stderr."""
    try:
        async with _backups(settings) as backups:
            job = backups.start_import() if what == "import" else backups.start_export()
            await _draw(job)
            print(await job.result())  # noqa: T201 - what the command answers
    except DataDirInUseError as error:
        return _fail(f"{error}, or ask that server: curl -X POST http://…/{what}")
    except (ServerError, StoreUnusableError) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"--data-dir {settings.data_dir}: {error.strerror}")
    return 0


@contextlib.asynccontextmanager
async def _backups(settings: Settings) -> AsyncIterator[Backups]:
    broken: list[BaseException] = []
    store = SQLiteStore(settings.data_dir, broken.append)
    try:
        images = SavedImages(settings.data_dir / "images")
        remote = connect(settings.remote_url(), settings.s3_options())
        backups = Backups(
            store,
            remote,
            settings.export_interval,
            on_imported=lambda: images.retain(store.has),
            give_way=lambda: asyncio.sleep(0),  # nothing else goes on here
        )
        try:
            yield backups
        finally:
            await backups.close()
    finally:
        await store.close()


async def _draw(job: Job) -> None:
    with tqdm(desc=job.name, unit=" lines", file=sys.stderr, leave=False) as bar:
        while not job.ended:
            await job.wait(DRAW_SECONDS)
            bar.total = job.total or None
            bar.update(job.done - bar.n)


def _fail(sentence: str) -> int:
    sys.stderr.write(f"python -m server: {sentence}\n")
    return 1
