"""The replies: results and errors, each in its one envelope."""

import math
from typing import Final

import orjson
from aiohttp import hdrs, web

from server.errors import BY_CODE, ServerError
from server.prediction import Prediction, Status
from server.web.contract.bodies import Done, Failure, Receipt

JSON: Final = "application/json"
PREFERENCE_APPLIED: Final = "Preference-Applied"


def json_reply(
    body: object, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """A reply of anything that JSON can say."""
    return web.Response(
        body=orjson.dumps(body), status=status, headers=headers, content_type=JSON, charset="utf-8"
    )


def done(sentence: str) -> web.Response:
    """A success that has only a sentence to tell."""
    return json_reply(Done(status=Status.SUCCESS, response=sentence))


def result(prediction: Prediction, *, waited: int = 0) -> web.Response:
    """A recorded prediction as a reader gets it: 200, whatever became of it.

    Args:
        prediction: The record.
        waited: Seconds that were waited for its end, as `Prefer` asked.
    """
    headers = {PREFERENCE_APPLIED: f"wait={waited}"} if waited else None
    return web.Response(
        body=prediction.to_json(), headers=headers, content_type=JSON, charset="utf-8"
    )


def answer(prediction: Prediction) -> web.Response:
    """A finished prediction as the one who asked for it gets it: a Fail has its error's status."""
    if prediction.error is None:
        return result(prediction)
    error = BY_CODE[prediction.error](orjson.loads(prediction.response))
    return failure(error, request_id=prediction.request_id)


def accepted(prediction: Prediction, location: str, *, preferred: bool) -> web.Response:
    """The receipt of an accepted prediction.

    Args:
        prediction: The record.
        location: Where its result will stand.
        preferred: It was asked for by `Prefer: respond-async`, which is answered by a 202.
    """
    receipt: Receipt = {
        "request_id": prediction.request_id,
        "status": Status.SUCCESS,
        "response": "Async request got sent",
    }
    headers: dict[str, str] = {hdrs.LOCATION: location}
    if not preferred:
        return json_reply(receipt, headers=headers)
    return json_reply(receipt, status=202, headers=headers | {PREFERENCE_APPLIED: "respond-async"})


def envelope(error: ServerError) -> Failure:
    """An error as all errors are told."""
    return {"status": Status.FAIL, "response": error.sentence, "error": error.code}


def failure(
    error: ServerError, *, request_id: str | None = None, headers: dict[str, str] | None = None
) -> web.Response:
    """An error, with its status."""
    body = envelope(error)
    if request_id:
        body["request_id"] = request_id
    headers = dict(headers or {})
    if error.retry_after is not None:
        headers[hdrs.RETRY_AFTER] = str(math.ceil(error.retry_after))
    return json_reply(body, status=error.status, headers=headers)
