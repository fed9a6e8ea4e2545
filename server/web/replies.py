"""The replies: results and errors, each in its one envelope."""

import math

import orjson
from aiohttp import hdrs, web

from server.errors import BY_CODE, ServerError
from server.prediction import Prediction, Status

JSON = "application/json"


def json_reply(
    body: object, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """A reply of anything that JSON can say."""
    return web.Response(
        body=orjson.dumps(body), status=status, headers=headers, content_type=JSON, charset="utf-8"
    )


def done(sentence: str) -> web.Response:
    """A success that has only a sentence to tell."""
    return json_reply({"status": Status.SUCCESS, "response": sentence})


def result(prediction: Prediction) -> web.Response:
    """A recorded prediction as a reader gets it: 200, whatever became of it."""
    return web.Response(body=prediction.to_json(), content_type=JSON, charset="utf-8")


def answer(prediction: Prediction) -> web.Response:
    """A finished prediction as the one who asked for it gets it: a Fail has its error's status."""
    if prediction.error is None:
        return result(prediction)
    error = BY_CODE[prediction.error](orjson.loads(prediction.response))
    return failure(error, request_id=prediction.request_id)


def accepted(prediction: Prediction, location: str) -> web.Response:
    """The receipt of an accepted prediction, whose result will stand at `location`."""
    receipt = {
        "request_id": prediction.request_id,
        "status": Status.SUCCESS,
        "response": "Async request got sent",
    }
    return json_reply(receipt, headers={hdrs.LOCATION: location})


def failure(
    error: ServerError, *, request_id: str | None = None, headers: dict[str, str] | None = None
) -> web.Response:
    """An error in the envelope that all errors share."""
    body = {"status": Status.FAIL, "response": error.sentence, "error": error.code}
    if request_id:
        body["request_id"] = request_id
    headers = dict(headers or {})
    if error.retry_after is not None:
        headers[hdrs.RETRY_AFTER] = str(math.ceil(error.retry_after))
    return json_reply(body, status=error.status, headers=headers)
