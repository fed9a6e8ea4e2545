"""FastAPI on uvicorn: the original's design, with its dict of results and without its disk writes.

Two uvicorn processes, each with a model of its own; uvloop and httptools, no access log. The model
runs in a thread pool of 40, FastAPI's own size.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from fastapi import FastAPI, UploadFile

from tools.bench.models import Answer
from tools.bench.peers.work import Work

app = FastAPI()
work = Work()
pool = ThreadPoolExecutor(40)
results: dict[str, Answer] = {}


@app.post("/predict")
async def predict(image: UploadFile) -> Answer:
    """The result of one upload."""
    data = await image.read()
    loop = asyncio.get_running_loop()
    answer = await loop.run_in_executor(pool, work.one, image.filename or "", data)
    request_id = str(uuid4())
    results[request_id] = answer
    return {"request_id": request_id, "status": "Success", "response": answer}
