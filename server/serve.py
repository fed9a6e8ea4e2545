"""Serving: listen, wait for a signal or a failure, drain, end with the right exit code."""

import asyncio
import logging
import resource
import select
import signal
import socket
import ssl
from contextlib import closing
from functools import partial
from typing import Final, cast

from aiohttp import web

from server import banner
from server.app import SUPERVISOR, create_app
from server.errors import BackupUnusableError
from server.health import Phase
from server.runner.worker import ModelLoadError
from server.settings import Settings
from server.store.database import StoreUnusableError
from server.store.lock import DataDirInUseError
from server.web import connection, keys, tls
from server.web.api_keys import BadKeyFileError
from server.web.connection import Connections
from server.web.handshake import Handshakes
from server.web.protocol import HttpProtocol, expecting
from server.web.tls import BadCertificateError

log = logging.getLogger("server")

WRITE_SECONDS: Final = 5
"""How long replies that are being written may take when everything else is done."""

LAST_TURNS: Final = 1000
"""Turns of the event loop, at most, in which those who have connected before the end are let in."""

UNSENT_BYTES: Final = 2**17
"""Bytes of an answer that the kernel takes over before they can be sent."""

BACKLOG: Final = 1024
"""Connections that the kernel holds until they are taken, many at a time."""

OTHER_FILES: Final = 256
"""Open files beside the connections: the database, the pipes to the workers, images."""


class CannotStartError(Exception):
    """The server can't start; the sentence says why and what to do."""


async def serve(settings: Settings) -> None:
    """Run the server until a signal tells it to stop, then drain.

    Raises:
        CannotStartError: The address, the data directory, a key or a certificate can't be had.
        Exception: An inner loop died; it is logged.
    """
    app, encryption = _prepare(settings)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=WRITE_SECONDS)
    stop = _stop_signal()
    try:
        await _start(runner, settings)
        with closing(await _listen(app, runner, settings, encryption)) as listener:
            banner.show(settings, listener.sockets[0].getsockname())
            await asyncio.wait([stop, app[SUPERVISOR].failed], return_when=asyncio.FIRST_COMPLETED)
            _raise_failure(app, settings)
            await _drain(app, listener, settings.shutdown_grace)
    finally:
        await runner.cleanup()
    log.info("stopped")


def _prepare(settings: Settings) -> tuple[web.Application, ssl.SSLContext | None]:
    """What needs nothing but files that the settings name."""
    try:
        return create_app(settings), tls.context(settings.tls_cert, settings.tls_key)
    except BadKeyFileError as error:
        raise CannotStartError(f"--api-key-file {settings.api_key_file}: {error}") from error
    except BadCertificateError as error:
        raise CannotStartError(str(error)) from error


async def _start(runner: web.AppRunner, settings: Settings) -> None:
    try:
        await runner.setup()
    except (DataDirInUseError, StoreUnusableError) as error:
        raise CannotStartError(str(error)) from error
    except OSError as error:
        raise CannotStartError(f"--data-dir {settings.data_dir}: {error.strerror}") from error


async def _listen(
    app: web.Application,
    runner: web.AppRunner,
    settings: Settings,
    encryption: ssl.SSLContext | None,
) -> asyncio.Server:
    """Take connections, each under guard."""
    server = cast(web.Server, runner.server)  # it is there, the runner being set up
    server.request_handler = expecting(server.request_handler)
    connections = Connections(
        partial(HttpProtocol.of, server, settings.keepalive_timeout, connection.LINGER_SECONDS),
        most=_affordable(settings.max_connections),
        header_timeout=settings.header_timeout,
        write_timeout=settings.write_timeout,
        handshakes=Handshakes(encryption, settings.header_timeout) if encryption else None,
    )
    app[SUPERVISOR].start("connections", connections.watch())
    try:
        listener = await asyncio.get_running_loop().create_server(
            connections.protocol, settings.host, settings.port, backlog=BACKLOG
        )
    except OSError as error:
        raise CannotStartError(
            f"can't listen on --host {settings.host} --port {settings.port}: {error.strerror}"
        ) from error
    _limit_unread(listener, settings.write_timeout)
    return listener


def _limit_unread(listener: asyncio.Server, seconds: float) -> None:
    """Bound what the kernel holds for a client that does not read, and how long (on Linux).

    Connections inherit it. That little is held lets the guard see a slow client's progress;
    the time is for what the guard does not see, and longer, as it ends without a word.
    """
    options = {"TCP_NOTSENT_LOWAT": UNSENT_BYTES, "TCP_USER_TIMEOUT": round(seconds * 2000)}
    for name, value in options.items():
        if hasattr(socket, name):
            for each in listener.sockets:
                each.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _affordable(connections: int) -> int:
    """As many connections, at most, as this process may have open files for beside its others.

    The limit of open files is raised as far as that takes and the system lets it.
    """
    needed = connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed + BACKLOG:
        soft = needed + BACKLOG  # those, too, that are about to be closed
        soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return connections
    affordable = max(1, soft - OTHER_FILES)
    log.warning(
        "this system lets a process open %d files: connections are limited to %d, not to the %d"
        " of --max-connections",
        soft,
        affordable,
        connections,
    )
    return affordable


def _raise_failure(app: web.Application, settings: Settings) -> None:
    if not app[SUPERVISOR].failed.done():
        return
    try:
        app[SUPERVISOR].failed.result()
    except ModelLoadError as error:
        if error.details:
            log.error("%s", error.details.rstrip())
        raise CannotStartError(f"--model {settings.model} can't be loaded: {error}") from error
    except BackupUnusableError as error:
        raise CannotStartError(
            f"{error} To start without what is backed up: --import-on-start never"
        ) from error


async def _drain(app: web.Application, listener: asyncio.Server, grace: float) -> None:
    """Take nothing new; finish what runs, within the grace time. What waits stays Pending."""
    health = app[keys.HEALTH]
    health.phase = Phase.DRAINING
    log.info("stopping: finishing what is running, within %g s", grace)
    try:
        async with asyncio.timeout(grace):
            await _stop_listening(listener)
            await asyncio.gather(health.idle(), app[keys.PREDICTIONS].drain())
            await app[keys.BACKUPS].flush()
    except TimeoutError:
        log.warning("the grace time is over; what still runs is given up")


async def _stop_listening(listener: asyncio.Server) -> None:
    """Listen no longer, from a moment when nobody waits to be let in: they would be cut off."""
    door = select.poll()
    for each in listener.sockets:
        door.register(each.fileno(), select.POLLIN)
    for _ in range(LAST_TURNS):
        if not door.poll(0):
            break
        await asyncio.sleep(0)
    listener.close()


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
