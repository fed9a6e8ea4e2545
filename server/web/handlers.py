"""The handlers: each parses, calls one service and answers."""

from aiohttp import web

from server.errors import NotFoundError
from server.web import docs as pages
from server.web import listing, parameters, progress, replies
from server.web.contract.bodies import Alive, Ready
from server.web.keys import BACKUPS, HEALTH, OPENAPI, PREDICTIONS, STATUS, UPLOADS


async def status(request: web.Request) -> web.Response:
    """`GET /status`: that the server is alive, with its figures."""
    return replies.json_reply(await request.app[STATUS].collect())


async def livez(_: web.Request) -> web.Response:
    """`GET /livez`: the process answers."""
    return replies.json_reply(Alive(status="Alive"))


async def readyz(request: web.Request) -> web.Response:
    """`GET /readyz`: the server takes predicts, or 503 with the reason why not."""
    request.app[HEALTH].require_healthy()
    return replies.json_reply(Ready(status="Ready"))


async def predict(request: web.Request) -> web.Response:
    """`POST /predict`: run the model and answer its result."""
    if parameters.prefers_async(request.headers):
        return await async_predict(request)
    request.app[HEALTH].require_ready()
    request.app[PREDICTIONS].require_room()
    upload = await request.app[UPLOADS].read(request)
    key = parameters.idempotency_key(request.path, request.headers, upload)
    return replies.answer(await request.app[PREDICTIONS].predict(upload, key))


async def async_predict(request: web.Request) -> web.Response:
    """`POST /asyncPredict`: accept the image, run the model later."""
    request.app[HEALTH].require_ready()
    request.app[PREDICTIONS].require_pending_room()
    upload = await request.app[UPLOADS].read(request)
    key = parameters.idempotency_key(request.path, request.headers, upload)
    prediction = await request.app[PREDICTIONS].submit(upload, key)
    location = f"/predictResults/{prediction.request_id}"
    return replies.accepted(
        prediction, location, preferred=parameters.prefers_async(request.headers)
    )


async def list_results(request: web.Request) -> web.StreamResponse:
    """`GET /predictResults`: all results, newest first, or a page of them."""
    query, everything = parameters.query(request.query)
    if everything:
        return await listing.stream(request, query)
    return await listing.page(request, query)


async def get_result(request: web.Request) -> web.Response:
    """`GET /predictResults/{request_id}`: one result."""
    request_id = parameters.request_id(request.match_info["request_id"])
    wait = parameters.preferred_wait(request.headers)
    return replies.result(await request.app[PREDICTIONS].get(request_id, wait), waited=wait)


async def delete(request: web.Request) -> web.Response:
    """`DELETE /delete/{request_id}`: delete one result, cancelling it while Pending."""
    request_id = parameters.request_id(request.match_info["request_id"])
    await request.app[PREDICTIONS].delete(request_id)
    return replies.done(f"Result {request_id} is deleted.")


async def delete_all(request: web.Request) -> web.Response:
    """`DELETE /deleteAll`: delete every result."""
    deleted = await request.app[PREDICTIONS].delete_all()
    return replies.done(
        f"{deleted} results are deleted." if deleted != 1 else "1 result is deleted."
    )


async def import_all(request: web.Request) -> web.StreamResponse:
    """`POST /import`: replace the results by those of the backup, all or none."""
    request.app[HEALTH].require_ready()
    return await progress.follow(request, request.app[BACKUPS].start_import())


async def export_all(request: web.Request) -> web.StreamResponse:
    """`POST /export`: back every result up."""
    request.app[HEALTH].require_ready()
    return await progress.follow(request, request.app[BACKUPS].start_export())


async def openapi(request: web.Request) -> web.Response:
    """`GET /openapi.json`: this contract."""
    return request.app[OPENAPI].reply(request)


async def docs(request: web.Request) -> web.Response:
    """`GET /docs`: the page of this contract, on which calls can be tried."""
    return pages.PAGE.reply(request)


async def docs_file(request: web.Request) -> web.Response:
    """`GET /docs/{file}`: a part of that page."""
    name = request.match_info["file"]
    if name not in pages.FILES:
        raise NotFoundError(f"There is nothing at {request.path[:200]}.")
    return pages.FILES[name].reply(request)
