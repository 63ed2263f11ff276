"""HTTP/2 on the direct ingress: by the h2 package, and by frames that it would not send."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
from h2.settings import SettingCodes
from hpack import Encoder

from serving.errors import ModelNotReady
from serving.gateway.direct.http2 import intake as intake2
from serving.gateway.direct.http2.connection import MAX_FRAME
from serving.gateway.direct.http2.intake import CONNECTION_WINDOW, STREAM_WINDOW
from serving.gateway.direct.limits import Limits
from serving.http2 import frames as f
from serving.protocol.pb.open_inference_pb2 import ModelInferRequest, ModelInferResponse

OPEN = f.PREFACE + f.settings({})
START = [
    (":method", "POST"), (":scheme", "http"), (":authority", "vigil"),
    (":path", "/inference.GRPCInferenceService/ModelInfer"),
    ("content-type", "application/grpc"), ("te", "trailers"),
]  # fmt: skip
END = f.END_HEADERS | f.END_STREAM


def block(*extra):
    return Encoder().encode([*START, *extra])


def headers(ident=1, flags=f.END_HEADERS, *extra):
    return f.frame(f.HEADERS, flags, ident, block(*extra))


def values(stream):
    assert stream.trailers["grpc-status"] == "0"
    (raw,) = ModelInferResponse.FromString(stream.body[5:]).raw_output_contents
    return np.frombuffer(raw, "<f4").tolist()


def rows(count):
    request = ModelInferRequest(model_name="m", id="q")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[count, 2])
    tensor.contents.fp32_contents.extend([1, 2] * count)
    return request.SerializeToString()


async def ended(client):
    """Return the code and the text of the GOAWAY that the server ends with."""
    rest, at, found = await client.rest(), 0, None
    while at < len(rest):
        high, low, kind, _, _ = f.read_head(rest, at)
        size = high << 8 | low
        if kind == f.GOAWAY:
            found = int.from_bytes(rest[at + 13 : at + 17], "big")
        at += 9 + size
    assert at == len(rest)
    return found


async def test_a_call_is_answered(connect2, message):
    client = await connect2()
    for _ in range(3):
        assert values(await client.answer(await client.call(message))) == [2.0, 4.0]


@pytest.mark.parametrize("pieces", [2, 7, 60])
async def test_a_call_in_pieces_as_well(connect2, message, pieces, server):
    client = await connect2()
    assert values(await client.answer(await client.call(message, pieces=pieces))) == [2.0, 4.0]
    (connection,) = server.connections
    assert connection._intake.held == 0
    assert not connection._streams.by_number


async def test_calls_are_answered_as_they_finish(connect2, message, link):
    client = await connect2()
    calls = [await client.call(message) for _ in range(100)]
    for ident in reversed(calls):
        assert values(await client.answer(ident)) == [2.0, 4.0]


async def test_what_is_no_plain_call_goes_to_the_app(connect2, post):
    client = await connect2()
    assert (await client.answer(await client.ask("/v2/health/live"))).body == b'{"live":true}'
    body = post()[post().index(b"{") :]
    answer = await client.answer(await client.ask("/v2/models/m/infer", "POST", body))
    assert answer.headers[":status"] == "200"
    assert json.loads(answer.body)["id"] == "q"
    answer = await client.answer(await client.ask("/nothing", "HEAD"))
    assert answer.headers[":status"] == "404"
    assert answer.body == b""
    answer = await client.answer(await client.ask("/%2f"))
    assert answer.headers[":status"] == "400"
    assert b"slash" in answer.body


async def test_errors_are_statuses(connect2, message, link):
    client = await connect2()
    link.error = ModelNotReady("ünready " * 4000)
    answer = await client.answer(await client.call(message))
    assert answer.headers["grpc-status"] == "14"
    assert answer.headers["grpc-message"].startswith("%C3%BCnready ")
    link.error = None
    answer = await client.answer(await client.call(b"\xff"))
    assert answer.headers["grpc-status"] == "3"
    assert values(await client.answer(await client.call(message))) == [2.0, 4.0]


@pytest.mark.parametrize("extra", [
    ("connection", "close"), ("Upper", "x"), ("te", "gzip"), ("a", "b\r\nc: d"), (":late", "x"),
    ("content-length", "7"), ("content-length", "x"),
])  # fmt: skip
async def test_malformed_headers_reset_their_stream_alone(connect2, message, extra):
    client = await connect2()
    assert (await client.answer(await client.call(message, extra))).reset == f.PROTOCOL_ERROR
    assert values(await client.answer(await client.call(message))) == [2.0, 4.0]


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_content_length_must_be_true_for_the_app_as_well(connect2, method):
    client = await connect2()
    ident = client.h2.get_next_available_stream_id()
    start = [(":method", method), (":scheme", "http"), (":authority", "v"), (":path", "/v2")]
    client.h2.send_headers(ident, [*start, ("content-length", "3")])
    client.h2.send_data(ident, b"abcd", end_stream=True)
    await client.flush()
    assert (await client.answer(ident)).reset == f.PROTOCOL_ERROR


@pytest.mark.parametrize(("raw", "code"), [
    (f.frame(f.PING, 0, 0, bytes(8)), f.PROTOCOL_ERROR),
    (f.settings({}) + f.frame(f.PING, 0, 0, bytes(7)), f.FRAME_SIZE_ERROR),
    (f.settings({}) + f.frame(f.DATA, 0, 1, b"x"), f.PROTOCOL_ERROR),
    (f.settings({}) + f.frame(f.DATA, 0, 0, b"x"), f.PROTOCOL_ERROR),
    (f.settings({}) + headers(2), f.PROTOCOL_ERROR),
    (f.settings({}) + headers(0), f.PROTOCOL_ERROR),
    (f.settings({}) + headers(1, 0) + f.frame(f.PING, 0, 0, bytes(8)), f.PROTOCOL_ERROR),
    (f.settings({}) + headers(1, 0) + f.frame(f.CONTINUATION, 0, 3, b""), f.PROTOCOL_ERROR),
    (f.settings({}) + headers(1, 0) + f.frame(f.CONTINUATION, 0, 1, b"") * 20, f.ENHANCE_YOUR_CALM),
    (f.settings({}) + f.frame(f.CONTINUATION, 0, 1, b""), f.PROTOCOL_ERROR),
    (f.settings({}) + f.frame(f.HEADERS, f.END_HEADERS, 1, b"\xff\xff\xff"), f.COMPRESSION_ERROR),
    (f.settings({}) + f.frame(f.HEADERS, f.END_HEADERS | f.PADDED, 1, b"\x09a"), f.PROTOCOL_ERROR),
    (f.settings({}) + f.frame(f.HEADERS, END, 1, bytes(70_000)), f.ENHANCE_YOUR_CALM),
    (f.settings({}) + headers() + f.frame(f.DATA, f.PADDED, 1, b"\x01"), f.PROTOCOL_ERROR),
    (f.settings({}) + f.window_update(0, 2**31 - 1), f.FLOW_CONTROL_ERROR),
    (f.settings({}) + f.window_update(0, 0), f.PROTOCOL_ERROR),
    (f.settings({}) + f.window_update(1, 1), f.PROTOCOL_ERROR),
    (f.settings({}) + headers() + f.window_update(1, 2**30) + f.settings({4: 2**31 - 1}),
     f.FLOW_CONTROL_ERROR),
    (f.settings({f.INITIAL_WINDOW_SIZE: 2**31}), f.FLOW_CONTROL_ERROR),
    (f.settings({f.MAX_FRAME_SIZE: 5}), f.PROTOCOL_ERROR),
    (f.settings({}) + f.frame(f.SETTINGS, f.ACK, 0, b"x"), f.FRAME_SIZE_ERROR),
    (f.frame(f.SETTINGS, 0, 0, b"x"), f.FRAME_SIZE_ERROR),
    (f.settings({}) + f.reset(1, 0), f.PROTOCOL_ERROR),
    (f.settings({}) + f.frame(f.PUSH_PROMISE, 0, 1, bytes(4)), f.PROTOCOL_ERROR),
    (f.settings({}) + f.frame(f.DATA, 0, 1, bytes(MAX_FRAME + 1)), f.FRAME_SIZE_ERROR),
    (f.settings({}) * 300, f.ENHANCE_YOUR_CALM),
    (f.settings({}) + f.frame(f.PING, f.ACK, 0, bytes(8)) * 4_000, f.ENHANCE_YOUR_CALM),
    (f.settings({}) + headers() + f.frame(f.DATA, f.PADDED, 1, b"\0") * 4_000, f.ENHANCE_YOUR_CALM),
    (f.settings({}) + b"".join(headers(i) + f.reset(i, f.CANCEL) for i in range(1, 1000, 2)),
     f.ENHANCE_YOUR_CALM),
])  # fmt: skip
async def test_who_breaks_the_protocol_is_told_and_closed(connect, raw, code, link, monkeypatch):
    monkeypatch.setattr(intake2, "MOST_CONTROL", 1_000)
    monkeypatch.setattr(intake2, "MOST_RESETS", 100)
    link.hold = asyncio.Event()
    client = await connect()
    await client.send(f.PREFACE + raw)
    assert await ended(client) == code


async def test_data_after_the_end_resets_the_stream(connect2, message, link):
    link.hold = asyncio.Event()
    client = await connect2()
    ident = await client.call(message)
    await client.raw.send(f.frame(f.DATA, 0, ident, b"x"))
    assert (await client.answer(ident)).reset == f.STREAM_CLOSED
    link.hold.set()
    assert values(await client.answer(await client.call(message))) == [2.0, 4.0]


@pytest.mark.parametrize("grpc", [True, False])
async def test_bodies_over_the_limit_are_refused(connect2, grpc, server):
    client = await connect2()
    if grpc:
        answer = await client.answer(await client.call(bytes(20_000), pieces=3))
        assert answer.headers["grpc-status"] == "8"
    else:
        answer = await client.answer(await client.ask("/v2/models/m/infer", "POST", bytes(12_000)))
        assert answer.headers[":status"] == "413"
    (connection,) = server.connections
    assert connection._intake.held == 0


async def test_no_window_leaks_with_streams_that_are_cancelled(connect2, message, server):
    """Regression: what the app had not taken was never granted again."""
    client = await connect2()
    path = "/inference.GRPCInferenceService/ModelStreamInfer"
    await client.answer(await client.call(message))
    (connection,) = server.connections
    for _ in range(20):
        ident = client.h2.get_next_available_stream_id()
        start = [item if item[0] != ":path" else (":path", path) for item in START]
        client.h2.send_headers(ident, start)
        client.h2.send_data(ident, bytes(5_000))
        client.h2.reset_stream(ident)
        await client.flush()
    await client.answer(await client.call(message))
    assert connection._intake.held == 0
    assert connection._intake.window + connection._intake.taken == CONNECTION_WINDOW


async def test_more_data_than_was_allowed_ends_the_connection(connect, server):
    async def app(scope, receive, send):
        await asyncio.Event().wait()

    server.state = replace(server.state, app=app, max_body=1 << 30)
    client = await connect()
    piece = f.frame(f.DATA, 0, 1, bytes(MAX_FRAME))
    path = [item if item[0] != ":path" else (":path", "/v2/models/m/infer") for item in START[:4]]
    await client.send(OPEN + f.frame(f.HEADERS, f.END_HEADERS, 1, Encoder().encode(path)))
    client.writer.write(piece * (STREAM_WINDOW // MAX_FRAME + 1))
    assert await ended(client) == f.FLOW_CONTROL_ERROR


async def test_too_many_bodies_at_once_refuse_the_youngest_and_not_all(connect2, message, server):
    """Regression: the window was withheld until every body was there, which none could be."""
    client = await connect2()
    await client.answer(await client.call(message))
    (connection,) = server.connections
    connection._intake.most_held = 4_000
    streams = []
    for _ in range(3):
        ident = client.h2.get_next_available_stream_id()
        client.h2.send_headers(ident, START)
        client.h2.send_data(ident, b"\0" + len(message).to_bytes(4, "big") + message[:-1])
        client.h2.send_data(ident, b"" if ident != 7 else bytes(4_000))
        streams.append(ident)
    await client.flush()
    assert (await client.answer(streams[2])).reset == f.REFUSED_STREAM
    for ident in streams[:2]:
        client.h2.send_data(ident, message[-1:], end_stream=True)
    await client.flush()
    for ident in streams[:2]:
        assert values(await client.answer(ident)) == [2.0, 4.0]
    assert connection._intake.held == 0


async def test_answers_wait_for_the_windows_of_the_client(connect2, link):
    client = await connect2()
    client.acknowledge = False
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    calls = [await client.call(rows(100)) for _ in range(3)]
    await client.until(lambda: all(c in client.streams for c in calls))
    assert not any(client.streams[c].body for c in calls)
    for _ in range(2000):
        for call in calls:
            if not client.streams[call].ended:
                client.h2.increment_flow_control_window(300, call)
        client.h2.increment_flow_control_window(900)
        await client.flush()
        if all(client.streams[c].ended for c in calls):
            break
        await client.read()
    for call in calls:
        assert values(client.streams[call]) == [2.0, 4.0] * 100


async def test_a_larger_first_window_lets_waiting_answers_go(connect2):
    client = await connect2()
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1})
    call = await client.call(rows(10))
    await client.until(
        lambda: client.streams.get(call) is not None and client.streams[call].body != b""
    )
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65_535})
    await client.flush()
    assert values(await client.answer(call)) == [2.0, 4.0] * 10


@pytest.mark.parametrize("left", [100, 0])
async def test_an_answer_can_end_without_a_window(connect2, server, left):
    """An empty frame needs none, and must not make the connection's window larger."""
    shrunk = asyncio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 100, "more_body": True})
        await shrunk.wait()
        await send({"type": "http.response.body", "body": b""})

    client = await connect2()
    client.acknowledge = False
    server.state = replace(server.state, app=app)
    call = await client.ask("/v2")
    await client.until(lambda: call in client.streams and len(client.streams[call].body) == 100)
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: left})
    await client.flush()
    (connection,) = server.connections
    async with asyncio.timeout(60):
        while connection._sender.initial != left:  # noqa: ASYNC110
            await asyncio.sleep(0)
    room = connection._sender.room
    shrunk.set()
    if not left:  # the client has taken back more than it had given
        async with asyncio.timeout(60):
            while not connection._streams.by_number[call].waiting:  # noqa: ASYNC110
                await asyncio.sleep(0)
        client.h2.increment_flow_control_window(100, call)
        await client.flush()
    assert (await client.answer(call)).body == b"x" * 100
    assert connection._sender.room == room


async def test_a_stream_that_is_reset_is_not_worked_for(connect2, message, link, server):
    client = await connect2()
    await client.answer(await client.call(message))
    (connection,) = server.connections
    link.hold = asyncio.Event()
    call = await client.call(message)
    async with asyncio.timeout(60):
        while not connection._streams.by_number or not connection._streams.by_number[call].ticket:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    ticket = connection._streams.by_number[call].ticket
    client.h2.reset_stream(call)
    await client.flush()
    async with asyncio.timeout(60):
        while not ticket.item.future.cancelled():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    link.hold.set()
    assert values(await client.answer(await client.call(message))) == [2.0, 4.0]


@pytest.mark.parametrize("ends", [True, False])
async def test_an_app_that_fails_resets_its_stream(connect2, server, ends):
    async def app(scope, receive, send):
        if not ends:
            raise RuntimeError("no")

    client = await connect2()
    server.state = replace(server.state, app=app)
    connection_app = await client.ask("/v2")
    assert (await client.answer(connection_app)).reset == f.INTERNAL_ERROR


async def test_padding_priorities_and_unknown_frames_mean_nothing(connect, message):
    client = await connect()
    body = b"\0" + len(message).to_bytes(4, "big") + message
    padded = f.frame(
        f.HEADERS,
        f.END_HEADERS | f.PADDED | f.WITH_PRIORITY,
        1,
        b"\x03" + bytes(5) + block() + bytes(3),
    )
    data = f.frame(f.DATA, f.END_STREAM | f.PADDED, 1, b"\x04" + body + bytes(4))
    await client.send(OPEN + f.frame(99, 255, 7, b"?") + f.frame(f.PRIORITY, 0, 5, bytes(5)))
    await client.send(padded + data)
    async with asyncio.timeout(60):
        await client.reader.readuntil(b"grpc-status\x010")


async def test_any_cut_of_the_bytes_is_the_same_call(connect, message):
    body = b"\0" + len(message).to_bytes(4, "big") + message
    whole = OPEN + headers() + f.frame(f.DATA, f.END_STREAM, 1, body)
    for cut in range(1, len(whole), 3):
        client = await connect()
        await client.send(whole[:cut])
        await asyncio.sleep(0)
        await client.send(whole[cut:])
        async with asyncio.timeout(60):
            await client.reader.readuntil(b"grpc-status\x010")
        await client.close()


class TestSlowness:
    @pytest.fixture
    def limits(self):
        return Limits(head_s=0.1, body_s=0.1, idle_s=0.2, stall_s=0.2, linger_s=0.1, sweep_s=0.02)

    async def test_idle_connections_are_told_and_closed(self, connect2, message):
        client = await connect2()
        await client.answer(await client.call(message))
        while await client.read():
            pass
        assert client.goaways
        assert client.goaways[-1][0] == f.NO_ERROR

    @pytest.mark.parametrize("before", ["", "a-call", "a-stream"])
    @pytest.mark.parametrize("how", ["no-end", "dripping", "half-a-frame"])
    async def test_headers_that_do_not_end_are_not_waited_for(
        self, connect, message, server, link, how, before
    ):
        server.limits = Limits(head_s=0.2, body_s=600, idle_s=600, stall_s=600, linger_s=0.1,
                               sweep_s=0.02)  # fmt: skip
        server.state.clock.tick()
        if how == "half-a-frame" and before == "a-stream":
            return  # that may as well be the stream's, which has a deadline of its own
        link.hold = asyncio.Event()
        if before != "a-stream":
            link.hold.set()
        client = await connect()
        await client.send(OPEN)
        if before:
            body = b"\0" + len(message).to_bytes(4, "big") + message
            await client.send(headers() + f.frame(f.DATA, f.END_STREAM, 1, body))
        await client.send(headers(3, 0) if how != "half-a-frame" else headers(3)[:-1])
        async with asyncio.timeout(60):
            while server.connections:
                if how == "dripping":
                    await client.send(f.frame(f.CONTINUATION, 0, 3, b""))
                await asyncio.sleep(0.1)
        link.hold.set()

    async def test_a_body_that_does_not_come_resets_its_stream(self, connect2, server):
        client = await connect2()
        ident = client.h2.get_next_available_stream_id()
        client.h2.send_headers(ident, START)
        client.h2.send_data(ident, b"\0")
        await client.flush()
        assert (await client.answer(ident)).reset == f.CANCEL

    async def test_an_answer_without_a_window_is_given_up(self, connect2, message, server):
        client = await connect2()
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        assert (await client.answer(await client.call(message))).reset == f.CANCEL
        assert (await client.answer(await client.ask("/v2"))).reset == f.CANCEL
        assert not any(c._sender.blocked or c._streams.by_number for c in server.connections)

    async def test_a_call_under_way_has_all_the_time(self, connect2, message, link):
        link.hold = asyncio.Event()
        client = await connect2()
        call = await client.call(message)
        await asyncio.sleep(0.5)
        link.hold.set()
        assert values(await client.answer(call)) == [2.0, 4.0]
