"""The banner: what a person reads when the server starts, and when it is ready."""

import logging
from typing import Any

from server.settings import Settings

log = logging.getLogger("server")


def show(settings: Settings, address: tuple[Any, ...]) -> None:
    """Log what serves what, where, and what to type next."""
    host, port = address[:2]
    url = f"http://{_reachable(host)}:{port}"
    log.info("model    %s", settings.model)
    log.info("runner   %d %s workers", settings.workers, settings.runner)
    log.info("store    %s", settings.data_dir.resolve())
    log.info("address  http://%s:%d", host, port)
    log.info("try      curl -F image=@examples/cat.jpg %s/predict", url)


def _reachable(host: str) -> str:
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        return "localhost"
    return f"[{host}]" if ":" in host else host
