"""The composition root: makes every part from the settings and joins them."""

import asyncio
import gc
import logging
import os
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from aiohttp import web

from server import cgroup
from server.backup.backups import Backups
from server.batcher import Batcher
from server.health import Health, Phase
from server.idempotency import Idempotency
from server.inference import Inference
from server.model import memory
from server.model.header import ImageLimits
from server.model.hosted import ImageInput, Outcome
from server.predictions import Predictions
from server.remote.connect import connect
from server.retention import Keep, Retention
from server.runner.process import ProcessWorker
from server.runner.runner import Runner
from server.runner.thread import ThreadWorker
from server.runner.worker import Worker, WorkerConfig, run_batch
from server.settings import Settings
from server.store.saved_images import SavedImages
from server.store.space import FreeSpace
from server.store.sqlite import SQLiteStore
from server.supervisor import Supervisor
from server.web import connection, keys, middleware
from server.web.access import authenticate
from server.web.api_keys import ApiKeys, exposes_secrets
from server.web.constant import Constant
from server.web.contract import document
from server.web.cors import Cors
from server.web.pace import Pace
from server.web.routes import PUBLIC, ROUTES
from server.web.status import StatusReport
from server.web.upload import UploadReader

log = logging.getLogger("server")

SETTINGS: Final = web.AppKey("settings", Settings)
SUPERVISOR: Final = web.AppKey("supervisor", Supervisor)
STORE: Final = web.AppKey("store", SQLiteStore)
INFERENCE: Final = web.AppKey("inference", Inference)
SAVED_IMAGES: Final = web.AppKey("saved_images", SavedImages)


def create_app(settings: Settings) -> web.Application:
    """The application: started, it opens the store, loads the model and runs what is Pending.

    Raises:
        BadKeyFileError: The file of API keys can't be used.
    """
    app = web.Application(middlewares=[connection.mark, middleware.identify, middleware.errors])
    app[SETTINGS] = settings
    app[keys.HEALTH] = Health()
    app[keys.PACE] = Pace()
    app.on_response_prepare.extend([middleware.echo_request_id, connection.close_after])
    _control_access(app, settings)
    app.add_routes(ROUTES)
    contract = document.build(
        PUBLIC, guarded=settings.api_key_file is not None, formats=settings.image_formats
    )
    app[keys.OPENAPI] = Constant(contract, "application/json")
    app.cleanup_ctx.extend([_supervision, _storage, _backup, _service])
    return app


def _control_access(app: web.Application, settings: Settings) -> None:
    """Let in who may call. Browsers ask without a key whether a page may, so CORS comes first."""
    cors = Cors(settings.origins())
    if settings.cors_origin:
        app.middlewares.append(cors.preflight())
        app.on_response_prepare.append(cors.allow)
    app.middlewares.append(cors.refuse_others())
    if settings.api_key_file:
        app.middlewares.append(authenticate(ApiKeys.load(settings.api_key_file)))
        if exposes_secrets(settings.api_key_file):
            log.warning(
                "--api-key-file %s: everybody on this machine can read the keys; chmod 600, or"
                " keep their hashes in it",
                settings.api_key_file,
            )


async def _supervision(app: web.Application) -> AsyncIterator[None]:
    app[SUPERVISOR] = Supervisor()
    yield


async def _storage(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    store = SQLiteStore(
        settings.data_dir, app[SUPERVISOR].fail, export_added=settings.export == "all"
    )
    app[STORE] = store
    app[SAVED_IMAGES] = SavedImages(settings.data_dir / "images")
    yield
    await store.close()


async def _backup(app: web.Application) -> AsyncIterator[None]:
    settings, store, saved_images = app[SETTINGS], app[STORE], app[SAVED_IMAGES]
    backups = Backups(
        store,
        connect(settings.remote_url(), settings.s3_options()),
        settings.export_interval,
        on_imported=lambda: saved_images.retain(store.has),
        give_way=lambda: app[INFERENCE].calm(),  # noqa: PLW0108 - it is made later
    )
    app[keys.BACKUPS] = backups
    yield
    await backups.close()


async def _service(app: web.Application) -> AsyncIterator[None]:
    settings, supervisor = app[SETTINGS], app[SUPERVISOR]
    limits = settings.image_limits()
    runner = Runner(partial(_make_worker, settings, limits), settings.workers)
    batcher: Batcher[ImageInput, Outcome] = Batcher(
        lambda inputs: asyncio.wrap_future(runner.submit(run_batch, inputs)),
        settings.workers,
        settings.batch_limits(),
    )
    app[INFERENCE] = inference = Inference(batcher, settings.workers, app[STORE].count_attempt)
    predictions, retention = _make_predictions(app, inference)
    await predictions.begin()
    app[keys.HEALTH].obstacle = runner.obstacle
    app[keys.PREDICTIONS] = predictions
    app[keys.STATUS] = StatusReport(
        app[keys.HEALTH], predictions, inference, runner, app[STORE], app[keys.BACKUPS]
    )
    app[keys.UPLOADS] = UploadReader(
        settings.max_body_bytes,
        settings.body_timeout,
        limits,
        min_rate=settings.min_body_rate,
        budget=settings.max_uploads_bytes,
    )
    supervisor.start("model loading", _load(app, runner, inference), ends=True)
    supervisor.start("batcher", batcher.run())
    supervisor.start("retention", retention.run())
    yield
    await supervisor.close()
    await asyncio.to_thread(runner.shutdown, cancel_futures=True)


def _make_predictions(app: web.Application, inference: Inference) -> tuple[Predictions, Retention]:
    settings, store, saved_images = app[SETTINGS], app[STORE], app[SAVED_IMAGES]
    idempotency = Idempotency(store, settings.keep_keys)
    predictions = Predictions(
        store=store,
        saved_images=saved_images,
        space=FreeSpace(settings.data_dir, settings.min_free_disk),
        inference=inference,
        idempotency=idempotency,
        max_pending=settings.max_pending,
        slots=2 * settings.workers * settings.max_batch_size,
    )
    keep = Keep.parse(settings.keep_results)
    return predictions, Retention(store, keep, idempotency.retention_ms, saved_images.delete)


async def _load(app: web.Application, runner: Runner, inference: Inference) -> None:
    """Load the model into every worker, restore what is backed up, then take work."""
    began = time.monotonic()
    info, *_ = await asyncio.gather(*map(asyncio.wrap_future, runner.start()))
    inference.model = info
    if info.decodes:
        app[keys.UPLOADS].limits = None
    app[keys.HEALTH].phase = Phase.RESTORING
    await app[keys.BACKUPS].restore(app[SETTINGS].import_on_start)
    app[SUPERVISOR].start("exporter", app[keys.BACKUPS].run())
    app[SUPERVISOR].start("backlog", app[keys.PREDICTIONS].backlog.run())
    gc.freeze()  # what is here by now stays: no collection need look at it, and take 20 ms for that
    app[keys.HEALTH].phase = Phase.READY
    log.info("ready    %s, loaded in %.1f s", info.name, time.monotonic() - began)


def _make_worker(settings: Settings, limits: ImageLimits) -> Worker:
    config = WorkerConfig(
        settings.model,
        limits,
        predict_timeout=settings.predict_timeout,
        load_timeout=settings.load_timeout,
        recycle_after=settings.recycle_after,
        log_format=settings.log_format,
    )
    if settings.runner == "thread":
        return ThreadWorker(config)
    threads = max(1, cgroup.cpus() // settings.workers)
    ours = memory.ENVIRONMENT | {"OMP_NUM_THREADS": f"{threads}"}
    return ProcessWorker(config, {key: os.environ.get(key, value) for key, value in ours.items()})
