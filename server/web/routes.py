"""The routes: every URL of the server."""

from aiohttp import web

from server.web import handlers, upload

ROUTES = (
    web.get("/status", handlers.status),
    web.get("/livez", handlers.livez),
    web.get("/readyz", handlers.readyz),
    web.post("/predict", handlers.predict, expect_handler=upload.expect),
    web.post("/asyncPredict", handlers.async_predict, expect_handler=upload.expect),
    web.get("/predictResults", handlers.list_results),
    web.get("/predictResults/{request_id}", handlers.get_result),
    web.delete("/delete/{request_id}", handlers.delete),
    web.delete("/deleteAll", handlers.delete_all),
    web.post("/import", handlers.import_all),
    web.post("/export", handlers.export_all),
)
