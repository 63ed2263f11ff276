"""ModelStreamInfer over ASGI: order, errors within the stream, its bound, and how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from serving import errors
from serving.gateway.grpc.stream import MOST_IN_FLIGHT
from serving.protocol.pb import open_inference_pb2 as pb

PATH = "/inference.GRPCInferenceService/ModelStreamInfer"
GRPC = ("content-type", "application/grpc")
LIMIT = 10_000


def frame(payload: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(payload).to_bytes(4, "big") + payload


def infer(ident: str, value: float = 1, model: str = "m") -> bytes:
    message = pb.ModelInferRequest(model_name=model, id=ident)
    message.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    message.raw_input_contents.append(np.array([value, 0], np.float32).tobytes())
    return frame(message.SerializeToString())


def messages(body: bytes) -> list[pb.ModelStreamInferResponse]:
    found = []
    while body:
        assert body[0] == 0
        end = 5 + int.from_bytes(body[1:5], "big")
        found.append(pb.ModelStreamInferResponse.FromString(body[5:end]))
        body = body[end:]
    return found


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
async def test_answers_come_in_order(ask: Any, size: int) -> None:
    whole = b"".join(infer(str(number), number) for number in range(50))
    chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
    answer = await ask("POST", PATH, [*chunks, b""], [GRPC])
    assert answer.trailers == {"grpc-status": "0"}
    replies = messages(answer.body)
    assert [reply.infer_response.id for reply in replies] == [str(n) for n in range(50)]
    values = [np.frombuffer(r.infer_response.raw_output_contents[0], "f4")[0] for r in replies]
    assert values == [2 * number for number in range(50)]


async def test_an_error_is_a_message_and_the_stream_goes_on(ask: Any) -> None:
    whole = infer("a") + infer("b", model="q") + infer("c")
    replies = messages((await ask("POST", PATH, whole, [GRPC])).body)
    assert [reply.infer_response.id for reply in replies] == ["a", "b", "c"]
    assert replies[1].error_message.startswith("Request for unknown model")
    assert not replies[0].error_message
    assert not replies[2].error_message


async def test_a_message_that_is_no_unicode_is_still_answered(ask: Any, link: Any) -> None:
    link.error = errors.ModelFailed("half a pair: \ud800")
    (reply,) = messages((await ask("POST", PATH, infer("a"), [GRPC])).body)
    assert reply.error_message == "half a pair: \\ud800"


async def test_an_empty_stream(ask: Any) -> None:
    answer = await ask("POST", PATH, b"", [GRPC])
    assert (answer.body, answer.trailers) == (b"", {"grpc-status": "0"})


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (infer("a")[:-1], [], "3"),
        (frame(b"\xff\xff\xff"), [], "3"),
        (frame(b"x", 1), [], "3"),
        (frame(b"x", 1), [("grpc-encoding", "br")], "12"),
        (frame(bytes(LIMIT + 1)), [], "8"),
        (b"\0\xff\xff\xff\xff", [], "8"),
        (b"", [("grpc-timeout", "soon")], "3"),
    ],
)
async def test_what_cannot_be_read_ends_the_stream(
    ask: Any, body: bytes, headers: Any, code: str
) -> None:
    answer = await ask("POST", PATH, body, [GRPC, *headers])
    assert (answer.status, answer.trailers["grpc-status"]) == (200, code)


async def test_what_came_before_is_answered_all_the_same(ask: Any, link: Any) -> None:
    link.hold = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, link.hold.set)
    whole = infer("a") + infer("b") + frame(b"\xff\xff\xff") + infer("c")
    answer = await ask("POST", PATH, whole, [GRPC])
    assert [reply.infer_response.id for reply in messages(answer.body)] == ["a", "b"]
    assert answer.trailers["grpc-status"] == "3"


async def test_the_deadline_ends_the_stream(ask: Any, link: Any) -> None:
    link.hold = asyncio.Event()
    answer = await ask("POST", PATH, infer("a"), [GRPC, ("grpc-timeout", "20m")])
    assert answer.trailers["grpc-status"] == "4" or messages(answer.body)[0].error_message
    link.hold.set()


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_headers_leave_at_once_and_requests_have_a_bound(client: Any, link: Any) -> None:
    link.hold = asyncio.Event()
    call = client.start(PATH)
    await settle()
    start, empty = client.sent
    assert start["type"] == "http.response.start"
    assert empty == {"type": "http.response.body", "body": b"", "more_body": True}
    for number in range(2 * MOST_IN_FLIGHT):
        client.says(infer(str(number)))
    await settle()
    assert client.taken == MOST_IN_FLIGHT + 1
    assert len(client.sent) == 2
    link.hold.set()
    client.coming.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    async with asyncio.timeout(60):
        await call
    assert client.taken == 2 * MOST_IN_FLIGHT + 1
    assert len(messages(b"".join(m.get("body", b"") for m in client.sent))) == 2 * MOST_IN_FLIGHT


async def test_a_client_that_leaves_ends_its_work(client: Any, link: Any, plane: Any) -> None:
    link.hold = asyncio.Event()
    call = client.start(PATH)
    client.says(infer("a"))
    await settle()
    client.coming.put_nowait({"type": "http.disconnect"})
    async with asyncio.timeout(60):
        await call
    await settle()
    assert len(client.sent) == 2
    outcomes = {dict(s.attributes).get("outcome") for s in plane.snapshot() if "requests" in s.name}
    assert "abandoned" in outcomes
    link.hold.set()
    await settle()
