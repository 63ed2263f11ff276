"""What a request leaves behind once it is over, however it ended: nothing, without a collection.

Each case runs with the collector off. Then nothing may be held by the gateway that was not before,
and nothing may be unreachable and not freed: a body in such a cycle stays until a full collection,
which a gateway does not make for hours.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving import errors
from serving.dataplane.batching import replacement
from serving.dataplane.links.link import ReplicaLost
from serving.http2 import frames as f
from serving.protocol.pb import open_inference_pb2 as pb
from serving.protocol.pb import vigil_pb2

ROWS = 17_000
"""Enough for a body that is received in place."""
ROUNDS = 1
"""After a warm-up; what one round leaves of a body is over the bound by itself."""
PREFIXES = 10
"""Bytes before the messages of a stream, which is all that may be given back early."""
SERVICE = "/inference.GRPCInferenceService/"
GRPC = (("content-type", "application/grpc"), ("te", "trailers"))
GZIP = ("content-encoding", "gzip")


def json_body(rows: int = ROWS) -> bytes:
    data = ",".join(["0.5"] * (2 * rows))
    text = '{"inputs":[{"name":"x","datatype":"FP32","shape":[%d,2],"data":[%s]}]}'
    return (text % (rows, data)).encode()


def framed(payload: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(payload).to_bytes(4, "big") + payload


def message(rows: int = ROWS) -> bytes:
    request = pb.ModelInferRequest(model_name="m", id="q")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[rows, 2])
    tensor.contents.fp32_contents.extend([0.5] * (2 * rows))
    return bytes(request.SerializeToString())


def labels_message() -> bytes:
    labels = [vigil_pb2.Label(id=f"{at:050d}", number=1) for at in range(5_000)]
    return bytes(vigil_pb2.LabelsPushRequest(model_name="m", labels=labels).SerializeToString())


LABELS = b'{"labels":[%b]}' % b",".join(b'{"id":"%050d","y_true":1}' % at for at in range(5_000))
RAW = (("inference-header-content-length", "0"), ("content-type", "application/octet-stream"))
PLAIN_GRPC = (*GRPC, ("grpc-encoding", "gzip"))

# Path, body, headers; and the helper or the replica that it waits for.
HTTP: dict[str, tuple[str, bytes, tuple[tuple[str, str], ...]]] = {
    "infer": ("/v2/models/m/infer", json_body(), ()),
    "infer in parts": ("/v2/models/m/infer", json_body(2 * ROWS), ()),
    "infer raw": ("/v2/models/m/infer", bytes(8 * ROWS), RAW),
    "infer packed": ("/v2/models/m/infer", gzip.compress(json_body(), 1), (GZIP,)),
    "infer by the app": ("/v2/models/m/infer/", json_body(), ()),
    "infer answer packed": ("/v2/models/m/infer", json_body(), (("accept-encoding", "gzip"),)),
    "explain": ("/v2/models/m/explain", json_body(), ()),
    "explain packed": ("/v2/models/m/explain", gzip.compress(json_body(), 1), (GZIP,)),
    "labels": ("/v2/models/m/labels", LABELS, ()),
    "labels packed": ("/v2/models/m/labels", gzip.compress(LABELS, 0), (GZIP,)),
}
CALLS: dict[str, tuple[str, bytes, tuple[tuple[str, str], ...]]] = {
    "call": (SERVICE + "ModelInfer", framed(message()), GRPC),
    "call packed": (SERVICE + "ModelInfer", framed(gzip.compress(message(), 1), 1), PLAIN_GRPC),
    "call explain": ("/vigil.Explain/Explain", framed(message()), GRPC),
    "call labels": ("/vigil.Labels/Push", framed(labels_message()), GRPC),
    "call stream": (SERVICE + "ModelStreamInfer", framed(message()) * 2, GRPC),
    "call deadline": ("/vigil.Explain/Explain", framed(message()), (*GRPC, ("grpc-timeout", "9S"))),
}
ALL = {**HTTP, **CALLS}
REPLICA = {name for name, (path, *_) in ALL.items() if "infer" in path.lower().split("/", 2)[2]}


@pytest.fixture
def behind(link: Any, helper: Any) -> Any:
    """Makes replica and helpers answer, refuse, or wait; counts what has reached them."""
    return Behind(link, helper)


class Behind:
    def __init__(self, link: Any, helper: Any) -> None:
        self.link, self.helper = link, helper
        self.sent = 0
        self.error: Exception | None = None
        send = link.send

        async def counted(batch: Any) -> Any:
            self.sent += 1
            answer = await send(batch)
            if self.error is None:
                return answer
            try:
                raise LookupError
            except LookupError:
                # As links do with the errors of what carries them: it knows this frame twice.
                raise type(self.error)(*self.error.args) from None

        link.send = counted

    @property
    def asked(self) -> int:
        return self.sent + int(self.helper.asked)

    def wait(self) -> None:
        self.link.hold = asyncio.Event()
        self.helper.does = "wait"

    def go_on(self) -> None:
        if self.link.hold is not None:
            self.link.hold.set()
        self.link.hold = None
        self.helper.does = "answer"

    def refuse(self, error: Exception) -> None:
        self.error = error
        self.helper.does = "refuse"


async def clean(
    server: Any,
    garbage: Any,
    once: Callable[[], Awaitable[None]],
    over: Callable[[], bool],
    wait_until: Any,
) -> None:
    """Do something once to warm up, then some times more, and look for what is left of these."""
    await once()
    await wait_until(over)
    garbage.start()
    for _ in range(ROUNDS):
        await once()
        await wait_until(over)
    assert server.state.bodies.held == 0
    left = garbage.found()
    assert not left, f"only a collection frees: {sorted(set(left))}"
    held = garbage.held()
    assert sum(held.values()) < 50_000, f"something as large as a body is held: {held}"


def idle(plane: Any) -> bool:
    """Whether no request is under way, and no event about one waits to be sent."""
    plane.publisher.flush()
    entry = plane.resolve("m")
    busy = any(link.busy for link in entry.batcher.links)
    return not (entry.queue.waiting_rows or busy or plane.publisher.kept_bytes)


def partly(asked: Any, protocol: int) -> bytes:
    """Half of a request."""
    if protocol == 1:
        whole = asked.over_1()
        return bytes(whole[: len(whole) - len(asked.body) // 2])
    frames = asked.data_2(1, end=False)
    return f.PREFACE + f.settings({}) + asked.head_2(1) + b"".join(frames[: len(frames) // 2])


async def tell(client: Any, asked: Any, protocol: int) -> None:
    """Send a whole request."""
    if protocol == 1:
        await client.send(asked.over_1())
    else:
        await client.send(f.PREFACE + f.settings({f.INITIAL_WINDOW_SIZE: 1 << 30}))
        await client.send(f.window_update(0, 1 << 30) + asked.head_2(1))
        for each in asked.data_2(1):
            await client.send(each)


CASES = [(1, name) for name in HTTP] + [(2, name) for name in ALL]
every = pytest.mark.parametrize(("protocol", "name"), CASES, ids=[f"{n}-{v}" for v, n in CASES])


@every
async def test_the_client_leaves_in_mid_body(
    server: Any, raw: Any, question: Any, garbage: Any, wait_until: Any, protocol: int, name: str
) -> None:
    asked = question(*ALL[name])
    # A message of a stream that is whole already would be answered.
    sent = partly(asked, protocol)

    async def once() -> None:
        client = raw()
        await client.send(sent)
        await wait_until(lambda: bool(server.connections))
        await asyncio.sleep(0.01)  # the app takes what has come
        client.close()

    await clean(server, garbage, once, lambda: not server.connections, wait_until)


LEFT = [(*case, "answered") for case in CASES] + [
    (protocol, name, "failed")
    for protocol, name in CASES
    if name in ("infer", "infer in parts", "infer by the app", "call", "call stream")
]


@pytest.mark.parametrize(
    ("protocol", "name", "end"), LEFT, ids=[f"{n}-{v}-{end}" for v, n, end in LEFT]
)
async def test_the_client_leaves_before_the_answer(
    server: Any, raw: Any, question: Any, garbage: Any, wait_until: Any, behind: Behind,
    protocol: int, name: str, end: str,
) -> None:  # fmt: skip
    asked = question(*ALL[name])

    async def once() -> None:
        behind.error = None
        behind.wait()
        before = behind.asked
        client = raw()
        await tell(client, asked, protocol)
        await wait_until(lambda: behind.asked > before)
        assert server.state.bodies.held >= len(asked.body) - PREFIXES
        client.close()
        await wait_until(lambda: not server.connections)
        if end == "failed":
            behind.refuse(errors.ModelFailed("no"))
        behind.go_on()

    await clean(server, garbage, once, lambda: idle(server.state.plane), wait_until)


WAIT = [(protocol, name) for protocol, name in CASES if name in REPLICA]


@pytest.mark.parametrize(("protocol", "name"), WAIT, ids=[f"{n}-{v}" for v, n in WAIT])
async def test_the_client_leaves_while_its_request_waits_for_a_slot(
    server: Any, raw: Any, question: Any, garbage: Any, wait_until: Any, behind: Behind,
    protocol: int, name: str,
) -> None:  # fmt: skip
    asked = question(*ALL[name])
    queue = server.state.plane.resolve("m").queue

    async def once() -> None:
        behind.link.slots = 0
        client = raw()
        await tell(client, asked, protocol)
        await wait_until(lambda: queue.waiting_rows >= ROWS)
        assert server.state.bodies.held >= len(asked.body) - PREFIXES
        client.close()
        await wait_until(lambda: not server.connections and not queue.waiting_rows)
        behind.link.slots = 4

    # The sweep that has found out ends by itself.
    over = lambda: idle(server.state.plane) and not queue.disconnects.watching  # noqa: E731
    await clean(server, garbage, once, over, wait_until)


OK_2 = b"\x01\x04\x00\x00\x00\x01\x88"
"""The end of a frame's head, and the status 200 of HTTP/2."""


class LostUnbegun(ReplicaLost):
    """A replica that was lost before it was at work on the batch; else it would be suspected."""

    def __init__(self, ident: str) -> None:
        super().__init__(ident, begun=False)


ENDS: dict[str, Exception | None] = {
    "answered": None, "refused": errors.InvalidInput("no"), "failed": errors.ModelFailed("no"),
    "lost": LostUnbegun("r0"), "deadly": ReplicaLost("r0"), "broken": ValueError("x"),
}  # fmt: skip
"""How a request may end. Helpers know the first two only."""
ENDED = [
    (protocol, name, end)
    for protocol, name in CASES
    for end in ENDS
    if end in ("answered", "refused") or name in REPLICA
]


async def replaced(entry: Any, link: Any) -> None:
    """Put another replica in the place of every one that is lost."""
    while True:
        if not entry.batcher.links:
            entry.batcher.add_link(link)
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("protocol", "name", "end"), ENDED, ids=[f"{n}-{v}-{end}" for v, n, end in ENDED]
)
async def test_the_connection_stays(
    server: Any, raw: Any, question: Any, garbage: Any, wait_until: Any, behind: Behind,
    protocol: int, name: str, end: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(replacement, "RETURN_S", 0.02)  # none comes for one that is lost
    error = ENDS[end]
    asked = question(*ALL[name])
    clients: list[Any] = []
    entry = server.state.plane.resolve("m")
    if error is not None:
        behind.refuse(error)

    async def once() -> None:
        client = raw()
        clients.append(client)
        await tell(client, asked, protocol)
        replacing = asyncio.create_task(replaced(entry, behind.link)) if end == "deadly" else None
        answer = await client.answer(protocol)
        if replacing is not None:
            replacing.cancel()
            await asyncio.wait([replacing])
        good = b"grpc-status\x010" if asked.grpc else b"HTTP/1.1 200 " if protocol == 1 else OK_2
        assert (good in answer) == (error is None or asked.path.endswith("StreamInfer")), answer[
            :300
        ]
        if not entry.batcher.links:  # it was lost
            entry.batcher.add_link(behind.link)

    await clean(server, garbage, once, lambda: idle(server.state.plane), wait_until)
