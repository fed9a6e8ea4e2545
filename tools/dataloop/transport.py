"""HTTP as the gate and the server share it: sessions, and failures told as sentences."""

import math
import os
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.exceptions import MaxRetryError

from tools.dataloop.errors import ItemError, RefusedError, TryLaterError, UnreachableError

MOST_SECONDS: Final = 300.0
"""The longest Retry-After that is waited for."""


def session(url: str, connections: int) -> requests.Session:
    """A session for so many threads with one address, which retries nothing by itself.

    What the environment says of proxies and certificates is read once: requests would read all of
    it for each request, which costs as much as the request.
    """
    made = requests.Session()
    made.trust_env = False
    made.proxies.update(get_environ_proxies(url))
    made.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=connections, max_retries=0)
    made.mount("http://", adapter)
    made.mount("https://", adapter)
    return made


def broken(error: requests.RequestException, who: str) -> TryLaterError:
    """A request that got no whole answer."""
    reason = error.args[0] if error.args else None
    if isinstance(error, requests.ConnectionError) and isinstance(reason, MaxRetryError):
        why = re.sub(r"\[Errno -?\d+\] ", "", str(reason.reason).rpartition(": ")[2])
        return UnreachableError(f"{who} can't be reached: {why[:1].lower()}{why[1:]}")
    if isinstance(error, requests.Timeout):
        return TryLaterError(f"{who} did not answer in time")
    return TryLaterError(f"{who} broke off its answer")


def refused(status: int, who: str, message: str, asked: str | None = None) -> ItemError:
    """An answer that is no success.

    Args:
        status: Its HTTP status.
        who: "the gate" or "the server".
        message: Its own words.
        asked: Its `Retry-After`.
    """
    sentence = f"{who} answers {status}: {message or 'it does not say why'}"
    if status != 429 and status < 500:
        return RefusedError(status, sentence)
    wait = retry_after(asked)
    if wait is not None and wait > MOST_SECONDS:
        return RefusedError(status, f"{sentence} (it asks to wait {wait:.0f} s)")
    return TryLaterError(sentence, wait)


def retry_after(header: str | None) -> float | None:
    """Seconds to wait: the header holds seconds or a date."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
        except ValueError:
            return None
        if date.tzinfo is None:
            return None
        seconds = (date - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
