"""Bodies over all connections are bounded, in order of arrival, and the account comes out even."""

from __future__ import annotations

import asyncio
import gzip
import random
from typing import Any

import msgspec
import pytest

from serving.gateway.body_budget import BodyBudget
from serving.gateway.direct.http2 import intake as intake2
from serving.gateway.direct.limits import Limits
from serving.http2 import frames as f
from serving.protocol.pb import open_inference_pb2 as pb

MIB = 1 << 20
HALF = 7 * MIB // 2
"""Two such bodies fill the budget but for what is kept for small ones."""
GRPC = (("content-type", "application/grpc"), ("te", "trailers"))
INFER, CALL = "/v2/models/m/infer", "/inference.GRPCInferenceService/ModelInfer"
EXPLAIN, EXPLAIN_CALL = "/v2/models/m/explain", "/vigil.Explain/Explain"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
OPEN = f.PREFACE + f.settings({f.INITIAL_WINDOW_SIZE: 1 << 30}) + f.window_update(0, 1 << 30)


@pytest.fixture
def bodies() -> BodyBudget:
    return BodyBudget(8 * MIB, 4 * MIB)


def json_body(rows: int) -> bytes:
    data = ",".join(["0.5"] * (2 * rows))
    text = '{"inputs":[{"name":"x","datatype":"FP32","shape":[%d,2],"data":[%s]}]}'
    return (text % (rows, data)).encode()


def framed(payload: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(payload).to_bytes(4, "big") + payload


def message(rows: int) -> bytes:
    request = pb.ModelInferRequest(model_name="m", id="q")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[rows, 2])
    tensor.contents.fp32_contents.extend([0.5] * (2 * rows))
    return bytes(request.SerializeToString())


def announced(how: str, question: Any, path: str, size: int) -> bytes:
    """The beginning of a request that says how long its body will be, and nothing of that."""
    if how == "http1":
        start = f"POST {path} HTTP/1.1\r\nhost: v\r\nexpect: 100-continue\r\n"
        return f"{start}content-length: {size}\r\n\r\n".encode()
    if how == "http2":
        return OPEN + bytes(question(path, b"").head_2(1, ("content-length", str(size))))
    head = question(EXPLAIN_CALL if path == EXPLAIN else CALL, b"", GRPC).head_2(1)
    prefix = f.frame(f.DATA, 0, 1, b"\0" + (size - 5).to_bytes(4, "big"))
    return bytes(OPEN + head + prefix)


def refused(how: str, answer: bytes) -> bool:
    """Whether an answer says that there is no room now."""
    if how == "http1":
        return answer.startswith(b"HTTP/1.1 503 ") and b"\r\nretry-after: 1\r\n" in answer
    said = b"max_inflight_mib" in answer
    if how == "http2":
        return said and f.literal(b"retry-after", b"1") in answer
    return said and f.literal(b"grpc-status", b"14") in answer


HOWS = ["http1", "http2", "grpc"]


@pytest.mark.parametrize("path", [INFER, EXPLAIN])
@pytest.mark.parametrize("second", HOWS)
@pytest.mark.parametrize("first", HOWS)
async def test_who_comes_first_is_served_first(
    server: Any, raw: Any, question: Any, wait_until: Any, first: str, second: str, path: str
) -> None:
    early = [raw(), raw()]
    for client in early:
        await client.send(announced(first, question, path, HALF))
    await wait_until(lambda: server.state.bodies.held == 2 * HALF)

    late = raw()
    await late.send(announced(second, question, path, 100_000))
    assert refused(second, await late.answer(1 if second == "http1" else 2))
    assert (server.state.bodies.held, server.state.bodies.refused) == (2 * HALF, 1)

    small = question(INFER, json_body(3))
    client = raw()
    await client.send(small.over_1())
    assert (await client.answer(1)).startswith(b"HTTP/1.1 200 ")

    for client in early:
        client.close()
    await wait_until(lambda: server.state.bodies.held == 0)
    larger = question(INFER, json_body(17_000))
    client = raw()
    await client.send(larger.over_1())
    assert (await client.answer(1)).startswith(b"HTTP/1.1 200 ")
    assert server.state.bodies.held == 0


async def fill(server: Any, raw: Any, question: Any, wait_until: Any, left: int) -> None:
    """Take the budget of large bodies but for `left` bytes."""
    before, wanted = server.state.bodies.held, server.state.bodies.large - left
    for size in (wanted // 2, wanted - wanted // 2):
        await raw().send(announced("http1", question, INFER, size))
    await wait_until(lambda: server.state.bodies.held == before + wanted)


@pytest.mark.parametrize("path", [INFER, EXPLAIN])
@pytest.mark.parametrize("how", HOWS)
async def test_bodies_of_unknown_length_are_refused_as_they_grow(
    server: Any, raw: Any, question: Any, wait_until: Any, how: str, path: str
) -> None:
    await fill(server, raw, question, wait_until, 100_000)
    client = raw()
    if how == "http1":
        piece = b"%x\r\n%b\r\n" % (5_000, bytes(5_000))
        await client.send(
            f"POST {path} HTTP/1.1\r\nhost: v\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(21):
            await client.send(piece)
        assert refused(how, await client.answer(1))
    else:
        # A call whose first frame is too short to tell its message's length.
        start = b"\0\0" if how == "grpc" else b"{"
        asked = question(path, b"", ()) if how == "http2" else question(CALL, b"", GRPC)
        await client.send(OPEN + asked.head_2(1) + f.frame(f.DATA, 0, 1, start))
        for _ in range(21):
            await client.send(f.frame(f.DATA, 0, 1, bytes(5_000)))
        assert refused(how, await client.answer(2))
    assert server.state.bodies.held == server.state.bodies.large - 100_000


@pytest.mark.parametrize("path", [INFER, EXPLAIN])
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("room", [100_000, 2 * MIB])
async def test_what_a_body_unpacks_to_counts(
    server: Any, raw: Any, question: Any, wait_until: Any, how: str, path: str, room: int
) -> None:
    await fill(server, raw, question, wait_until, room)
    if how == "grpc":
        body = framed(gzip.compress(message(100_000)), 1)
        asked = question(
            EXPLAIN_CALL if path == EXPLAIN else CALL, body, (*GRPC, ("grpc-encoding", "gzip"))
        )
    else:
        asked = question(path, gzip.compress(json_body(100_000)), (("content-encoding", "gzip"),))
    assert len(asked.body) < 50_000
    client = raw()
    if how == "http1":
        await client.send(asked.over_1())
    else:
        await client.send(OPEN + asked.head_2(1) + b"".join(asked.data_2(1)))
    answer = await client.answer(1 if how == "http1" else 2)
    assert refused(how, answer) == (room < MIB)
    await wait_until(lambda: server.state.bodies.held == server.state.bodies.large - room)


async def test_messages_of_a_stream_count_until_they_are_answered(
    server: Any, raw: Any, question: Any, wait_until: Any, link: Any
) -> None:
    one = framed(message(200_000))  # 1.6 MB: five are too much
    client = raw()
    await client.send(OPEN + question(STREAM, b"", GRPC).head_2(1))
    answer = asyncio.create_task(client.answer(2))

    async def say(times: int) -> None:
        for frame in question(STREAM, one * times, GRPC).data_2(1, end=False):
            if server.state.bodies.refused:  # then nobody takes more, and the window closes
                break
            await client.send(frame)
            await asyncio.sleep(0)

    link.hold = asyncio.Event()
    await say(3)
    await wait_until(lambda: server.state.bodies.held == 3 * (len(one) - 5))
    link.hold.set()
    await wait_until(lambda: server.state.bodies.held == 0)
    link.hold = asyncio.Event()
    await say(5)
    await wait_until(lambda: server.state.bodies.refused == 1)
    link.hold.set()
    assert refused("grpc", await answer)  # behind the answers to the others
    await wait_until(lambda: server.state.bodies.held == 0)


@pytest.mark.parametrize("grpc", [False, True])
async def test_a_flood_of_lengths_over_the_limit_costs_nothing_and_ends(
    server: Any, raw: Any, question: Any, monkeypatch: Any, grpc: bool
) -> None:
    monkeypatch.setattr(intake2, "MOST_RESETS", 300)
    path, headers = (EXPLAIN_CALL, GRPC) if grpc else (EXPLAIN, ())
    asked = question(path, b"", headers)
    tasks = len(asyncio.all_tasks())
    client = raw()
    await client.send(OPEN + asked.head_2(1, ("content-length", str(1 << 40))))
    answer = await client.answer(2)
    assert f.literal(b"grpc-status", b"8") in answer if grpc else b"over the limit" in answer
    (connection,) = server.connections
    assert not connection._streams.by_number
    assert len(asyncio.all_tasks()) == tasks
    flood = [asked.head_2(at, ("content-length", str(1 << 40))) for at in range(3, 1001, 2)]
    await client.send(b"".join(flood))
    rest = await client.until(lambda got: b"too many streams were reset" in got)
    assert f.ENHANCE_YOUR_CALM.to_bytes(4, "big") + b"too many streams were reset" in rest
    assert server.state.bodies.held == 0


class TestSlow:
    @pytest.fixture
    def limits(self, limits: Limits) -> Limits:
        return msgspec.structs.replace(limits, body_s=0.2, sweep_s=0.05)

    @pytest.mark.parametrize("path", [INFER, EXPLAIN])
    @pytest.mark.parametrize("how", HOWS)
    async def test_who_is_too_slow_gives_back_what_was_kept_for_it(
        self, server: Any, raw: Any, question: Any, wait_until: Any, how: str, path: str
    ) -> None:
        client = raw()
        await client.send(announced(how, question, path, HALF))
        await wait_until(lambda: server.state.bodies.held == HALF)
        await wait_until(lambda: server.state.bodies.held == 0)


@pytest.mark.parametrize(
    ("protocol", "path"),
    [(1, INFER), (1, EXPLAIN), (1, "packed"), (2, INFER), (2, EXPLAIN), (2, "packed"), (2, CALL),
     (2, EXPLAIN_CALL)],
)  # fmt: skip
async def test_who_does_not_read_its_answer_holds_no_room(
    server: Any, raw: Any, question: Any, wait_until: Any, helper: Any, protocol: int, path: str
) -> None:
    grpc = path in (CALL, EXPLAIN_CALL)
    body = framed(message(100_000)) if grpc else json_body(100_000)
    asked = question(path, body, GRPC if grpc else ())
    if path == "packed":
        asked = question(EXPLAIN, gzip.compress(body), (("content-encoding", "gzip"),))
    client = raw()
    if protocol == 1:
        await client.send(asked.over_1())
    else:
        await client.send(f.PREFACE + f.settings({}) + asked.head_2(1))
        await client.send(b"".join(asked.data_2(1)))
    await wait_until(lambda: server.state.bodies.held > 0)
    await wait_until(lambda: server.state.bodies.held == 0)
    if protocol == 2:
        (connection,) = server.connections
        assert connection._streams.by_number  # the answer waits for a window


QUESTIONS = [
    (INFER, json_body(3), ()), (INFER, json_body(17_000), ()), (EXPLAIN, json_body(17_000), ()),
    (INFER, b"no JSON" * 9_999, ()), ("/nowhere", bytes(70_000), ()), (INFER, b"", ()),
    (INFER, bytes(8 * 17_000), (("inference-header-content-length", "0"),)),
    (EXPLAIN, gzip.compress(json_body(90_000)), (("content-encoding", "gzip"),)),
    (INFER, gzip.compress(json_body(90_000))[:-9], (("content-encoding", "gzip"),)),
]  # fmt: skip
CALLS = [
    (CALL, framed(message(3)), GRPC), (CALL, framed(message(17_000)), GRPC),
    (EXPLAIN_CALL, framed(message(17_000)), GRPC), (STREAM, framed(message(9_000)) * 3, GRPC),
    (CALL, framed(gzip.compress(message(90_000)), 1), (*GRPC, ("grpc-encoding", "gzip"))),
    (CALL, framed(message(17_000))[:-4], GRPC), (STREAM, framed(b"\xff" * 70_000), GRPC),
]  # fmt: skip


class Visitor:
    """Asks one random thing and ends it in a random way."""

    def __init__(self, chance: random.Random, raw: Any, question: Any) -> None:
        self._chance, self._raw, self._question = chance, raw, question

    async def visit(self) -> None:
        chance = self._chance
        protocol = chance.choice((1, 2))
        asked = self._question(*chance.choice(QUESTIONS if protocol == 1 else QUESTIONS + CALLS))
        if protocol == 1:
            whole = asked.over_1(chunked=chance.random() < 0.3)
        else:
            length = [("content-length", str(len(asked.body)))] * (chance.random() < 0.5)
            whole = OPEN + asked.head_2(1, *length) + b"".join(asked.data_2(1))
        cut = chance.choice((1.0, 1.0, chance.random()))
        client = self._raw()
        try:
            await client.send(whole[: int(len(whole) * cut)])
            if protocol == 2 and chance.random() < 0.3:
                await client.send(f.reset(1, f.CANCEL))
            elif cut == 1.0 and chance.random() < 0.6:
                await client.answer(protocol)
            elif chance.random() < 0.5:
                await asyncio.sleep(chance.random() / 50)
        except OSError:
            pass  # it was refused before all of it was sent
        finally:
            client.close()


@pytest.mark.parametrize("seed", range(4))
async def test_the_account_comes_out_even_whatever_clients_do(
    server: Any, raw: Any, question: Any, wait_until: Any, helper: Any, seed: int
) -> None:
    chance = random.Random(seed)
    bodies = server.state.bodies
    bodies.most, bodies.large = 1 << 20, 900_000  # so that some find no room
    visitor = Visitor(chance, raw, question)

    async def visits() -> None:
        for _ in range(15):
            helper.does = chance.choice(("answer", "refuse", "answer"))
            await visitor.visit()

    await asyncio.gather(*(visits() for _ in range(8)))
    assert server.state.bodies.refused
    await wait_until(lambda: not server.connections)
    await wait_until(lambda: server.state.bodies.held == 0)


@pytest.mark.parametrize("path", [INFER, EXPLAIN])
async def test_a_small_request_without_room_keeps_its_connection(
    server: Any, raw: Any, question: Any, path: str
) -> None:
    asked = question(path, json_body(3))
    client = raw()
    server.state.bodies.held = server.state.bodies.most
    await client.send(asked.over_1())
    answer = await client.answer(1)
    assert refused("http1", answer)
    assert b"connection: close" not in answer
    server.state.bodies.held -= server.state.bodies.most
    await client.send(asked.over_1())
    assert (await client.answer(1)).startswith(b"HTTP/1.1 200 ")
    assert server.state.bodies.held == 0


async def test_a_small_call_without_room_keeps_its_connection(
    server: Any, raw: Any, question: Any
) -> None:
    asked = question(CALL, framed(message(3)), GRPC)
    client = raw()
    server.state.bodies.held = server.state.bodies.most
    await client.send(OPEN + asked.head_2(1) + b"".join(asked.data_2(1)))
    assert refused("grpc", await client.answer(2))
    server.state.bodies.held -= server.state.bodies.most
    await client.send(asked.head_2(3) + b"".join(asked.data_2(3)))
    answer = await client.until(lambda got: b"grpc-status" in got)
    assert f.literal(b"grpc-status", b"0") in answer
    assert server.state.bodies.held == 0
