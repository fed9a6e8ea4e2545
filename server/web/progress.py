"""The progress of an import or export: one reply at its end, or lines as it goes on."""

from typing import Final

import orjson
from aiohttp import hdrs, web

from server.backup.job import Job
from server.errors import ServerError
from server.prediction import Status
from server.web import replies
from server.web.contract.bodies import Done, Failure, Running

LINES: Final = "application/x-ndjson"
PAUSE_SECONDS: Final = 0.5


async def follow(request: web.Request, job: Job) -> web.StreamResponse:
    """Tell what becomes of a job. A client that leaves does not end it.

    With `Accept: application/x-ndjson` there are lines, each a JSON object: how much is done, and
    last what the reply would have been.

    Raises:
        ServerError: It failed, and no lines were asked for.
    """
    if LINES not in ",".join(request.headers.getall(hdrs.ACCEPT, [])).lower():
        return replies.done(await job.result())
    reply = web.StreamResponse()
    reply.content_type, reply.charset = LINES, "utf-8"
    await reply.prepare(request)
    while not job.ended:
        line = Running(status="Running", done=job.done, total=job.total)
        await reply.write(orjson.dumps(line) + b"\n")
        await job.wait(PAUSE_SECONDS)
    await reply.write(orjson.dumps(await _last_line(job)) + b"\n")
    await reply.write_eof()
    return reply


async def _last_line(job: Job) -> Done | Failure:
    try:
        return {"status": Status.SUCCESS, "response": await job.result()}
    except ServerError as error:
        return replies.envelope(error)
