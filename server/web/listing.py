"""The list of results: a page, or all of them as a stream that never stands in memory."""

from dataclasses import replace

from aiohttp import hdrs, web

from server.store import Query
from server.web import parameters, replies
from server.web.keys import PREDICTIONS


async def page(request: web.Request, query: Query) -> web.Response:
    """One page; the Link header names the next while there is one."""
    found = await request.app[PREDICTIONS].page(query)
    body = b",".join(prediction.to_json() for prediction in found.predictions)
    reply = web.Response(body=b"[%b]" % body, content_type=replies.JSON, charset="utf-8")
    if found.after:
        url = request.rel_url.update_query(cursor=parameters.cursor(found.after))
        reply.headers[hdrs.LINK] = f'<{url}>; rel="next"'
    return reply


async def stream(request: web.Request, query: Query) -> web.StreamResponse:
    """Everything that matches, read and sent a page at a time.

    Results that are made or deleted meanwhile may or may not be in it; the others are, once each.
    """
    reply = web.StreamResponse()
    reply.content_type, reply.charset = replies.JSON, "utf-8"
    await reply.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return reply  # aiohttp would send the body, too: to its client, the head of another reply
    await reply.write(b"[")
    separator = b""
    while True:
        found = await request.app[PREDICTIONS].page(query)
        if found.predictions:
            results = b",\n".join(prediction.to_json() for prediction in found.predictions)
            await reply.write(separator + results)
        if not found.after:
            break
        separator = b",\n"
        query = replace(query, before=found.after)
    await reply.write(b"]")
    await reply.write_eof()
    return reply
