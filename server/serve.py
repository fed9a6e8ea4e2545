"""Serving: listen, wait for a signal or a failure, drain, end with the right exit code."""

import asyncio
import logging
import signal
from typing import Final

from aiohttp import web

from server import banner
from server.app import SUPERVISOR, create_app
from server.health import Phase
from server.runner.worker import ModelLoadError
from server.settings import Settings
from server.store.database import StoreUnusableError
from server.store.lock import DataDirInUseError
from server.web import keys
from server.web.access_log import AccessLog

log = logging.getLogger("server")

KEEPALIVE_SECONDS: Final = 75
"""How long an idle connection is kept: longer than a proxy's usual 60 s."""

READ_BUFFER: Final = 2**20
"""Bytes read ahead of a handler: a photo in one piece."""

WRITE_SECONDS: Final = 5
"""How long replies that are being written may take when everything else is done."""


class CannotStartError(Exception):
    """The server can't start; the sentence says why and what to do."""


async def serve(settings: Settings) -> None:
    """Run the server until a signal tells it to stop, then drain.

    Raises:
        CannotStartError: The address or the data directory can't be had.
        Exception: An inner loop died; it is logged.
    """
    app = create_app(settings)
    runner = web.AppRunner(
        app,
        access_log=logging.getLogger("server.access"),
        access_log_class=AccessLog,
        handler_cancellation=True,
        keepalive_timeout=KEEPALIVE_SECONDS,
        read_bufsize=READ_BUFFER,
        shutdown_timeout=WRITE_SECONDS,
    )
    stop = _stop_signal()
    try:
        site = await _listen(runner, settings)
        banner.show(settings, runner.addresses[0])
        await asyncio.wait([stop, app[SUPERVISOR].failed], return_when=asyncio.FIRST_COMPLETED)
        _raise_failure(app, settings)
        await _drain(app, site, settings.shutdown_grace)
    finally:
        await runner.cleanup()
    log.info("stopped")


async def _listen(runner: web.AppRunner, settings: Settings) -> web.TCPSite:
    try:
        await runner.setup()
    except (DataDirInUseError, StoreUnusableError) as error:
        raise CannotStartError(str(error)) from error
    except OSError as error:
        raise CannotStartError(f"--data-dir {settings.data_dir}: {error.strerror}") from error
    site = web.TCPSite(runner, settings.host, settings.port, backlog=1024)
    try:
        await site.start()
    except OSError as error:
        raise CannotStartError(
            f"can't listen on --host {settings.host} --port {settings.port}: {error.strerror}"
        ) from error
    return site


def _raise_failure(app: web.Application, settings: Settings) -> None:
    if not app[SUPERVISOR].failed.done():
        return
    try:
        app[SUPERVISOR].failed.result()
    except ModelLoadError as error:
        if error.details:
            log.error("%s", error.details.rstrip())
        raise CannotStartError(f"--model {settings.model} can't be loaded: {error}") from error


async def _drain(app: web.Application, site: web.TCPSite, grace: float) -> None:
    """Take nothing new; finish what runs, within the grace time. What waits stays Pending."""
    health = app[keys.HEALTH]
    health.phase = Phase.DRAINING
    await site.stop()
    log.info("stopping: finishing what is running, within %g s", grace)
    try:
        async with asyncio.timeout(grace):
            await asyncio.gather(health.idle(), app[keys.PREDICTIONS].drain())
    except TimeoutError:
        log.warning("the grace time is over; what still runs is given up")


def _stop_signal() -> asyncio.Future[None]:
    """Done at the first SIGTERM or SIGINT; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[None] = loop.create_future()

    def on_signal() -> None:
        stop.set_result(None)
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    return stop
