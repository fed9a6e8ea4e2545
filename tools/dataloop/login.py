"""The login at Dataloop: which environment, which credentials."""

import logging
import os
from collections.abc import Mapping
from typing import Any

import dtlpy
import requests

from tools.dataloop import transport
from tools.dataloop.arguments import Arguments
from tools.dataloop.errors import LoginError, UsageError

HELP = (
    "set DTLPY_API_KEY, or DTLPY_M2M_EMAIL and DTLPY_M2M_PASSWORD,"
    ' or store a session with "dlp login"'
)


def log_in(arguments: Arguments, environ: Mapping[str, str] = os.environ) -> Any:
    """An API client of dtlpy's (Any: it has no types), with credentials that are not yet tried.

    Raises:
        UsageError: There is no such environment.
        LoginError: There are no credentials, or they are expired or wrong.
    """
    logging.getLogger("dtlpy").disabled = True  # it logs tracebacks; we tell what happened
    client = dtlpy.client_api
    _choose(client, arguments)
    # the one of its own would make posts again by itself
    client.session = transport.session(client.environment, arguments.workers + 1)
    key = environ.get("DTLPY_API_KEY")
    email, password = environ.get("DTLPY_M2M_EMAIL"), environ.get("DTLPY_M2M_PASSWORD")
    if key:
        client.token = key
    elif email and password:
        _log_in_machine(email, password)
    elif not client.token:
        raise LoginError(f"no login at Dataloop: {HELP}")
    if client.token_expired():
        where = "DTLPY_API_KEY" if key else "the stored session"
        raise LoginError(f"{where} is expired or no token of Dataloop's: {HELP}")
    return client


def _choose(client: Any, arguments: Arguments) -> None:
    if arguments.gate_url:
        address = f"{arguments.gate_url}/api/v1"
        if address not in client.environments:
            client.add_environment(
                environment=address, alias="dataloop-test", gate_url=arguments.gate_url
            )
        client.setenv(address)
    elif arguments.env:
        aliases = (each.get("alias") for each in client.environments.values())
        known = sorted(alias for alias in aliases if alias)
        if arguments.env not in known:
            raise UsageError(f"--env: there is no {arguments.env}; known: {', '.join(known)}")
        client.setenv(arguments.env)


def _log_in_machine(email: str, password: str) -> None:
    try:
        done = dtlpy.login_m2m(email=email, password=password)
    except requests.RequestException as error:
        raise LoginError(f"no login: {transport.broken(error, 'the gate')}") from error
    if not done:
        raise LoginError("the gate does not take DTLPY_M2M_EMAIL and DTLPY_M2M_PASSWORD")
