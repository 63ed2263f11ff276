"""Vigil inside a FastAPI application; run it beside the folder `demo-models`.

uvicorn --app-dir deploy/examples fastapi_app:app
curl localhost:8000/models/v2/models/cancer
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from serving.embedded import Vigil
from serving.errors import VigilError
from serving.protocol.status import http_status

vigil = Vigil(models="demo-models", data_dir=".vigil")


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Start and stop Vigil with the application; Starlette runs no lifespan of what it mounts."""
    async with vigil:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/models", vigil)
app.mount("/vigil", vigil.admin)  # behind your own login, if others can reach it


@app.get("/")
async def home() -> dict[str, str]:
    """Answer without any model."""
    return {"hello": "world"}


@app.post("/diagnosis")
async def diagnosis(measurements: list[float]) -> dict[str, float]:
    """Ask a model from the application's own code."""
    answer = await vigil.infer("cancer", {"x": [measurements]})
    malignant, benign = answer.outputs[0].data[0].tolist()
    return {"malignant": malignant, "benign": benign}


@app.exception_handler(VigilError)
async def failed(_request: Request, error: VigilError) -> JSONResponse:
    """Say in one sentence what was wrong, as Vigil's own routes do."""
    return JSONResponse({"error": error.message}, http_status(error))
