"""A gate of our own: as much of Dataloop as dtlpy and the tool ask for, and it can fail."""

import asyncio
import base64
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from itertools import count
from typing import Any

from aiohttp import web

API = "/api/v1"
DATASET = "d" * 24
OWNER = "robot@example.com"
PASSWORD = "right"  # noqa: S105 - of a gate that guards nothing
Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def token(email: str = OWNER, seconds: float = 3600) -> str:
    """A login that ends in so many seconds."""
    parts = {"alg": "HS256"}, {"email": email, "exp": int(time.time() + seconds)}
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return b".".join([*texts, b"c2ln"]).decode()


@dataclass
class Fault:
    """Answers instead of the gate, so many times, to requests "METHOD /path" that match.

    A query's line ends with what it asks for: "POST /datasets/d/query items".
    """

    request: str
    status: int = 500
    message: str = "the gate is ill"
    headers: dict[str, str] = field(default_factory=dict)
    skip: int = 0  # it lets so many through before
    times: int = 1_000_000
    after: bool = False  # the gate does what it was asked, and answers this all the same
    truncate: bool = False  # it answers only half of what it says
    hang: bool = False  # it never answers
    meet: Callable[[], None] | None = None


class Gate:
    """The gate: what it holds, what arrived, what it is to fail at."""

    def __init__(self) -> None:
        self.url = ""
        self._ready = threading.Event()
        self._numbers = count(1)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.token = token()
        self.files: dict[str, bytes] = {}
        self.items: dict[str, Json] = {}
        self.on: dict[str, dict[str, Json]] = {}  # item's id: annotation's id: annotation
        self.labels: list[str] = []
        self.faults: list[Fault] = []
        self.seen: Counter[str] = Counter()
        self.uploads: list[list[Json]] = []
        self.keys: list[str] = []  # of the predicts
        self.takes = 1000  # annotations of one upload

    def add_item(self, data: bytes, name: str = "photo.jpg", **system: Any) -> str:
        """Put a file into the dataset; its item's id."""
        key = f"{len(self.items) + 1:024x}"
        self.files[key] = data
        self.on[key] = {}
        folder, _, short = name.rpartition("/")
        self.items[key] = {
            "id": key,
            "datasetId": DATASET,
            "name": short,
            "filename": f"/{folder.strip('/')}/{short}".replace("//", "/"),
            "type": "file",
            "hidden": False,
            "stream": "x",
            "metadata": {"system": {"mimetype": "image/jpeg", "size": len(data)} | system},
        }
        return key

    def add_annotation(self, item_id: str, label: str, model: str | None, **more: Any) -> str:
        """Put an annotation on an item, a model's or a person's."""
        user = {"model": {"name": model, "model_id": "old", "confidence": 0.5}} if model else {}
        body = {"type": "class", "label": label, "metadata": {"user": user}, "itemId": item_id}
        return str(self._keep(item_id, body | more)["id"])

    def of(self, item_id: str, model: str | None = None) -> list[Json]:
        """The annotations on an item, of a model if it is named."""
        return [each for each in self.on[item_id].values() if model in (None, model_of(each))]

    def annotations(self) -> list[Json]:
        """Every annotation."""
        return [each for on_item in self.on.values() for each in on_item.values()]

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        assert self._ready.wait(10)

    async def _serve(self) -> None:
        application = web.Application(middlewares=[self._check], client_max_size=2**26)
        application.add_routes(
            [
                web.get(f"{API}/users/me", self._me),
                web.post("/token", self._login),
                web.get("/status", self._status),
                web.post("/predict", self._predict),
                web.get(f"{API}/items/{{id}}", self._item),
                web.get(f"{API}/items/{{id}}/stream", self._stream),
                web.post(f"{API}/items/{{id}}/annotations", self._upload),
                web.post(f"{API}/datasets/{{id}}/query", self._query),
                web.get(f"{API}/datasets/{{id}}", self._dataset),
                web.get(f"{API}/recipes/{{id}}", self._recipe),
                web.get(f"{API}/ontologies/{{id}}", self._ontology),
                web.patch(f"{API}/ontologies/{{id}}/labels", self._add_labels),
            ]
        )
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await asyncio.Event().wait()

    @web.middleware
    async def _check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        line = f"{request.method} {request.path.removeprefix(API)}"
        if line.endswith("/query"):
            line += f" {(await request.json())['resource']}"
        self.seen[re.sub("[0-9a-f]{24}", "{id}", line)] += 1
        if request.path == "/predict":
            self.keys.append(request.headers["Idempotency-Key"])
        login = request.headers.get("authorization")
        if request.path.startswith(API) and login != f"Bearer {self.token}":
            return web.json_response({"message": "jwt expired"}, status=401)
        for fault in self.faults:
            if not fault.times or not re.fullmatch(fault.request, line):
                continue
            if fault.skip:
                fault.skip -= 1
            else:
                fault.times -= 1
                return await self._fail(fault, request, handler)
        return await handler(request)

    async def _fail(
        self, fault: Fault, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if fault.meet:
            fault.meet()
        if fault.hang:
            await asyncio.Event().wait()
        if fault.after:
            await handler(request)
        if fault.truncate:
            assert request.transport
            data = self.files[request.match_info["id"]]
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            request.transport.write(head + data[: len(data) // 2])
            request.transport.close()
        return web.json_response(
            {"message": fault.message}, status=fault.status, headers=fault.headers
        )

    async def _me(self, _: web.Request) -> web.Response:
        return web.json_response({})

    async def _login(self, request: web.Request) -> web.Response:
        sent = await request.json()
        if sent["password"] != PASSWORD:
            return web.json_response({"message": "no"}, status=401)
        return web.json_response({"id_token": self.token})

    async def _status(self, _: web.Request) -> web.Response:
        """As a server of a model's, which the gate plays where one has to fail to order."""
        return web.json_response({"model": {"name": "played", "version": "2"}})

    async def _predict(self, _: web.Request) -> web.Response:
        found = {"label": "cat", "confidence": 0.75}
        return web.json_response({"status": "Success", "response": found, "model": "played@2"})

    async def _item(self, request: web.Request) -> web.Response:
        found = self.items.get(request.match_info["id"])
        if not found:
            return web.json_response({"message": "Item not found"}, status=404)
        return web.json_response(found)

    async def _stream(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    async def _upload(self, request: web.Request) -> web.Response:
        sent = await request.json()
        self.uploads.append(sent)
        if len(sent) > 100:
            return web.json_response({"message": "over 100 annotations"}, status=400)
        item_id = request.match_info["id"]
        return web.json_response([self._keep(item_id, each) for each in sent[: self.takes]])

    def _keep(self, item_id: str, body: Json) -> Json:
        number = next(self._numbers)
        kept: Json = {
            "creator": OWNER,
            "updatedBy": OWNER,
            "createdAt": f"2026-11-22T10:{number // 60_000:02}:{number // 1000 % 60:02}"
            f".{number % 1000:03}Z",
            **body,
            "id": f"{number:024x}",
            "itemId": item_id,
        }
        self.on[item_id][kept["id"]] = kept
        return kept

    async def _query(self, request: web.Request) -> web.Response:
        query = await request.json()
        if request.match_info["id"] != DATASET:
            return web.json_response({"message": "Dataset not found"}, status=404)
        if '"$wrong"' in json.dumps(query):
            return web.json_response({"message": "unknown operator $wrong"}, status=400)
        held = self.items if query["resource"] == "items" else self.on[_item_in(query)]
        found = [each for _, each in sorted(held.items()) if self._matches(each, query["filter"])]
        if query.get("delete"):
            for each in found:
                del held[each["id"]]
            return web.json_response({"deleted": len(found)})
        size = query["pageSize"]
        return web.json_response(
            {
                "items": found[:size],
                "totalItemsCount": len(found),
                "totalPagesCount": -(-len(found) // size),
                "hasNextPage": len(found) > size,
            }
        )

    def _matches(self, entity: Json, conditions: Json) -> bool:
        for name, wanted in conditions.items():
            if name in {"$and", "$or"}:
                met = [self._matches(entity, each) for each in wanted]
                if not (all(met) if name == "$and" else any(met)):
                    return False
            elif not _meets(self._value(entity, name), wanted):
                return False
        return True

    def _value(self, entity: Json, name: str) -> Any:
        if name == "annotated":
            return bool(self.of(entity["id"]))
        if name == "annotationId":
            return entity["id"]
        value: Any = entity
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value

    async def _dataset(self, request: web.Request) -> web.Response:
        metadata = {"system": {"recipes": ["r"]}}
        found = {"id": request.match_info["id"], "name": "photos", "projects": ["p"]}
        return web.json_response(found | {"metadata": metadata})

    async def _recipe(self, _: web.Request) -> web.Response:
        return web.json_response({"id": "r", "ontologyIds": ["o"]})

    async def _ontology(self, _: web.Request) -> web.Response:
        roots = [
            {"value": {"tag": label, "color": "#ff0000"}, "children": []} for label in self.labels
        ]
        return web.json_response({"id": "o", "roots": roots})

    async def _add_labels(self, request: web.Request) -> web.Response:
        sent = await request.json()
        self.labels += [tag for tag in _tags(sent) if tag not in self.labels]
        return await self._ontology(request)


def model_of(annotation: Json) -> str | None:
    """The name of the model that made an annotation."""
    name: str | None = annotation["metadata"].get("user", {}).get("model", {}).get("name")
    return name


def _item_in(query: Json) -> str:
    """The item whose annotations a query is about."""
    (found,) = [each["itemId"] for each in query["filter"]["$and"] if "itemId" in each]
    return str(found)


def _meets(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) and wanted.endswith("/**"):
        return fnmatch(value, wanted.removesuffix("*"))
    if not isinstance(wanted, dict):
        return bool(value == wanted)
    tests: dict[str, Callable[[Any], bool]] = {
        "$in": lambda allowed: value in allowed,
        "$gt": lambda least: value > least,
    }
    return all(tests[operator](operand) for operator, operand in wanted.items())


def _tags(sent: Any) -> Iterator[str]:
    """Every tag in what dtlpy sends to add labels."""
    if isinstance(sent, list):
        for each in sent:
            yield from _tags(each)
    elif isinstance(sent, dict):
        if "tag" in sent:
            yield sent["tag"]
        for each in sent.values():
            yield from _tags(each)
