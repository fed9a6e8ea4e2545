"""The model's server, as its client sees it."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import requests

from tools.dataloop import transport
from tools.dataloop.arguments import Mode
from tools.dataloop.errors import ItemError, LoginError, RefusedError, UsageError
from tools.dataloop.retries import Retries

POLL_SECONDS: Final = 30
"""How long the server is asked to hold a question for a result that is Pending."""

CONNECT_SECONDS: Final = 10.0
PAUSE_SECONDS: Final = 0.2
Response = Mapping[str, Any]  # Any: as JSON has it


@dataclass(frozen=True, slots=True)
class Picture:
    """An item's file."""

    name: str
    mimetype: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Model:
    """Whose answers these are."""

    name: str
    model_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model found in one image, and which model it was (name@version), if told."""

    response: Response
    model: str | None


def base_name(model: str) -> str:
    """The name of name@version."""
    return model.rpartition("@")[0] or model


class Server:
    """A client for several threads.

    Args:
        url: The server's address.
        http: The session to ask with, the server's key in its headers if it wants one.
        mode: `sync` asks `/predict`; `async` asks `/asyncPredict` and waits for the result.
        timeout: Seconds for the answer to one image.
        retries: For requests that fail for now.
    """

    def __init__(
        self, url: str, http: requests.Session, mode: Mode, timeout: float, retries: Retries
    ) -> None:
        self._url = url
        self._http = http
        self._mode = mode
        self._timeout = timeout
        self._retries = retries
        self._who = f"the server at {url}"

    def model(self) -> str | None:
        """The name@version of the model that the server runs; None: it does not tell.

        Raises:
            UsageError: There is no such server at the address.
            LoginError: It does not take the key.
        """
        try:
            found = self._json("GET", "/status").get("model")
        except ItemError as error:
            raise UsageError(f"{error}; --server names its address") from error
        if not isinstance(found, dict) or not found.get("name"):
            return None
        return "@".join(str(found[key]) for key in ("name", "version") if found.get(key))

    def predict(self, picture: Picture) -> Answer:
        """The model's answer to a picture.

        Raises:
            ItemError: There is none.
            LoginError: The server does not take the key.
        """
        # the same through all attempts of one call: what was accepted is not run twice
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        path = "/predict" if self._mode == "sync" else "/asyncPredict"
        files = {"image": (picture.name, picture.data, picture.mimetype)}
        result = self._retries.call(lambda: self._json("POST", path, headers=headers, files=files))
        if self._mode == "async":
            result = self._wait_for(str(result.get("request_id")))
        response = result.get("response")
        if result.get("status") != "Success" or not isinstance(response, dict):
            raise ItemError(f"the model failed: {response}")
        model = result.get("model")
        return Answer(response, model if isinstance(model, str) else None)

    def _wait_for(self, request_id: str) -> Response:
        """The end of an accepted prediction."""
        end = time.monotonic() + self._timeout
        while (left := end - time.monotonic()) > 0:
            headers = {"Prefer": f"wait={max(1, min(POLL_SECONDS, int(left)))}"}
            asked = time.monotonic()
            result = self._retries.call(
                lambda: self._json("GET", f"/predictResults/{request_id}", headers=headers)  # noqa: B023 - called before the next turn
            )
            if result.get("status") != "Pending":
                return result
            if time.monotonic() - asked < PAUSE_SECONDS:  # a server that does not hold it
                time.sleep(PAUSE_SECONDS)
        raise ItemError(
            f"{self._who} had no result within {self._timeout:g} s (--timeout);"
            f" {request_id} is still Pending there"
        )

    def _json(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
    ) -> Response:
        """One request and its answer."""
        timeout = (CONNECT_SECONDS, max(self._timeout, POLL_SECONDS + CONNECT_SECONDS))
        if method == "POST":
            timeout = (CONNECT_SECONDS, self._timeout)
        try:
            reply = self._http.request(
                method, self._url + path, headers=headers, files=files, timeout=timeout
            )
        except requests.ReadTimeout as error:
            raise ItemError(
                f"{self._who} did not answer within {timeout[1]:g} s (--timeout)"
            ) from error
        except requests.RequestException as error:
            raise transport.broken(error, self._who) from error
        try:
            body = reply.json()
        except requests.JSONDecodeError:
            body = None
        if not reply.ok:
            raise self._refusal(reply, body if isinstance(body, dict) else {})
        if not isinstance(body, dict):
            raise ItemError(f"{self._who} answers no JSON object; is it the model's server?")
        return body

    def _refusal(self, reply: requests.Response, body: Response) -> ItemError:
        """An error of the server's; one that it has recorded would be the same again."""
        message = str(body.get("response") or "")
        if reply.status_code in {401, 403}:
            raise LoginError(
                f"{self._who} answers {reply.status_code}: {message or reply.reason};"
                " its key is taken from the environment (--server-key-env)"
            )
        if body.get("request_id"):
            return RefusedError(reply.status_code, f"the model failed: {message}")
        asked = reply.headers.get("Retry-After")
        return transport.refused(reply.status_code, self._who, message or reply.reason, asked)
