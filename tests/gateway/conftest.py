"""The ASGI app over a data plane with a fake replica, driven without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

import msgspec
import pytest

from serving.access.decision import Access
from serving.access.principals import Principal
from serving.access.scopes import Scope
from serving.channel.messages.directory import Directory, ServedModel
from serving.channel.messages.inference import BatchResult, ResultMeta
from serving.config import ModelConfig
from serving.dataplane.handler import DataPlane
from serving.dataplane.requests.batch import Batch
from serving.errors import Forbidden, VigilError
from serving.gateway.asgi import VigilApp
from serving.telemetry.metrics.servers import (
    HTTP_SERVER_REQUEST_DURATION,
    RPC_SERVER_CALL_DURATION,
)

LIMIT = 10_000
DENIED = "the decision says no"
CONFIG = ModelConfig.model_validate(
    {
        "format": "torch_export",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        "monitors": {"drift": None},
        "explain": None,
    }
)


class Doubler:
    """A link that doubles, or raises what it is told to."""

    id, slots, busy, rows, open = "r0", 4, 0, 0, True

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hold: asyncio.Event | None = None

    async def send(self, batch: Batch) -> BatchResult:
        if self.hold:
            await self.hold.wait()
        if self.error:
            raise self.error
        return BatchResult({"y": batch.arrays[0] * 2}, ResultMeta({}, (), 1, 0))


@pytest.fixture
def link() -> Doubler:
    return Doubler()


@pytest.fixture
async def plane(link: Doubler) -> AsyncIterator[DataPlane]:
    plane = DataPlane("g")
    served = ServedModel("m", "1", CONFIG.model_dump_json().encode(), "nowhere")
    plane.apply(Directory(1, (served,)))
    plane.add_link("m", "1", link)
    async with asyncio.timeout(60):
        while not plane.ready()[0]:  # noqa: ASYNC110
            await asyncio.sleep(0)
    yield plane
    plane.close()
    await asyncio.sleep(0)


Serve = Callable[..., DataPlane]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Makes a data plane that serves a model `m`, with these keys of `model.yaml`, by nobody."""
    planes: list[DataPlane] = []

    def serve(*versions: str, **keys: Any) -> DataPlane:
        spec = {"datatype": "FP32", "shape": [-1, 2]}
        config = ModelConfig.model_validate(
            {
                "format": "torch_export",
                "inputs": [{"name": "x", **spec}],
                "outputs": [{"name": "y", **spec}],
                **keys,
            }
        )
        text = config.model_dump_json().encode()
        served = [ServedModel("m", number, text, "nowhere") for number in versions or "1"]
        planes.append(DataPlane("g"))
        planes[-1].apply(Directory(1, tuple(served)))
        return planes[-1]

    yield serve
    for plane in planes:
        plane.close()


@pytest.fixture
async def app(plane: DataPlane) -> VigilApp:
    async def start() -> DataPlane:
        return plane

    async def stop() -> None:
        pass

    app = VigilApp(start, stop, LIMIT)
    app.plane = plane
    return app


@pytest.fixture
def durations(plane: DataPlane) -> Callable[[], dict[tuple[str, ...], int]]:
    """How often the gateway has answered how: (method, route, status), or (gRPC method, status)."""

    def durations() -> dict[tuple[str, ...], int]:
        wanted = (HTTP_SERVER_REQUEST_DURATION, RPC_SERVER_CALL_DURATION)
        counts = {}
        for metric in wanted:
            for series in plane.series.snapshot():
                if series.name == metric.name and sum(series.counts):
                    own = dict(series.attributes)
                    assert set(own) <= set(metric.labels)
                    fixed = ("url.scheme", "rpc.system.name", "error.type")
                    key = tuple(own[name] for name in metric.labels[:3] if name not in fixed)
                    counts[key] = sum(series.counts)
        return counts

    return durations


Denied = Callable[[Scope | None, str, str], bool]


class Denying(Access):
    """Another decision: refuses what `denied` says of the scope, the model and who asks.

    Who asks is in the header `authorization`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.denied: Denied = lambda *_: False

    def principal_of(self, headers: Mapping[bytes, bytes]) -> Principal:
        return Principal(headers.get(b"authorization", b"").decode())

    def decide(
        self, scope: Scope | None, model: str, principal: Principal, *_: Any
    ) -> VigilError | None:
        return Forbidden(DENIED) if self.denied(scope, model, principal.name) else None


@pytest.fixture
def deny(app: VigilApp) -> Callable[[Denied], None]:
    """Replaces the decision of the app, for whichever ingress leads to it.

    Named before what takes the app over, as a server does.
    """
    app.access = access = Denying()

    def deny(denied: Denied) -> None:
        access.denied = denied

    return deny


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes
    trailers: dict[str, str]

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


Headers = Iterable[tuple[str, str]]


@pytest.fixture
def ask(app: VigilApp) -> Callable[..., Awaitable[Answer]]:
    """Sends one request, its body whole or in chunks, and collects the answer."""

    async def ask(
        method: str, path: str, body: bytes | list[Any] = b"", headers: Headers = ()
    ) -> Answer:
        chunks = list(body) if isinstance(body, list) else [body]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            chunk = chunks.pop(0)
            if chunk is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            sent.append(message)

        path, _, query = path.partition("?")
        scope = {
            "type": "http", "method": method, "path": path, "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        }  # fmt: skip
        async with asyncio.timeout(60):
            await app(scope, receive, send)

        def read(message: Any) -> dict[str, str]:
            pairs = [(name.decode(), value.decode()) for name, value in message["headers"]]
            assert len(dict(pairs)) == len(pairs)
            assert not any(c in text for pair in pairs for text in pair for c in "\r\n\0")
            return dict(pairs)

        assert sent[0]["type"] == "http.response.start"
        trailers = [m for m in sent if m["type"] == "http.response.trailers"]
        bodies = [m["body"] for m in sent if m["type"] == "http.response.body"]
        return Answer(
            sent[0]["status"], read(sent[0]), b"".join(bodies),
            read(trailers[0]) if trailers else {},
        )  # fmt: skip

    return ask


class StreamClient:
    """Drives one gRPC call by hand; `sent` is what the app sent."""

    def __init__(self, app: VigilApp) -> None:
        self._app = app
        self.coming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.taken = 0

    async def receive(self) -> dict[str, Any]:
        message = await self.coming.get()
        self.taken += 1
        return message

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))

    def says(self, body: bytes, more: bool = True) -> None:
        self.coming.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leaves(self) -> None:
        self.coming.put_nowait({"type": "http.disconnect"})

    def start(self, path: str, *headers: tuple[bytes, bytes]) -> asyncio.Task[None]:
        scope = {
            "type": "http", "method": "POST", "path": path,
            "headers": [(b"content-type", b"application/grpc"), *headers],
        }  # fmt: skip
        return asyncio.create_task(self._app(scope, self.receive, self.send))

    def messages(self) -> list[bytes]:
        """The payloads of the messages that were sent so far."""
        body, found = b"".join(m.get("body", b"") for m in self.sent), []
        while body:
            end = 5 + int.from_bytes(body[1:5], "big")
            found.append(body[5:end])
            body = body[end:]
        return found

    def status(self) -> int:
        """The gRPC status that ended the call."""
        assert self.sent[-1]["type"] == "http.response.trailers"
        return int(dict(self.sent[-1]["headers"])[b"grpc-status"])


@pytest.fixture
def make_client(app: VigilApp) -> Callable[[], StreamClient]:
    return lambda: StreamClient(app)


@pytest.fixture
def client(make_client: Callable[[], StreamClient]) -> StreamClient:
    return make_client()
