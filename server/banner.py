"""The banner: what a person reads when the server starts, and when it is ready."""

import ipaddress
import logging
from typing import Any

from server.settings import Settings

log = logging.getLogger("server")


def show(settings: Settings, address: tuple[Any, ...]) -> None:
    """Log what serves what, where, for whom, and what to type next."""
    host, port = address[:2]
    scheme, insecure = ("https", "-k ") if settings.tls_cert else ("http", "")
    key = '-H "X-API-Key: $KEY" ' if settings.api_key_file else ""
    url = f"{scheme}://{_reachable(host)}:{port}"
    log.info("model    %s", settings.model)
    log.info("runner   %d %s workers", settings.workers, settings.runner)
    log.info("store    %s", settings.data_dir.resolve())
    log.info("address  %s://%s:%d", scheme, host, port)
    if not settings.api_key_file and not ipaddress.ip_address(host).is_loopback:
        log.warning(
            "access   whoever reaches this address may predict, read and delete;"
            " --api-key-file or --host 127.0.0.1 keeps others out"
        )
    log.info("try      curl %s%s-F image=@examples/cat.jpg %s/predict", insecure, key, url)


def _reachable(host: str) -> str:
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        return "localhost"
    return f"[{host}]" if ":" in host else host
