"""HTTP/1.1 on the direct ingress, byte by byte."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import msgspec
import pytest

from serving.access.decision import Access
from serving.access.web import WebAccess
from serving.errors import InvalidInput
from serving.gateway.direct.connection import MOST_AHEAD
from serving.gateway.direct.http1.shapes import Shapes
from serving.gateway.direct.limits import Limits
from serving.gateway.http.cors import Cors

NUMBERS = b"1," * 999 + b"1"
LARGE = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[500,2],"data":[%b]}]}' % NUMBERS
GET = b"GET /v2/health/live HTTP/1.1\r\nHost: v\r\n\r\n"


def tickets(server):
    """Those of all connections whose request waits for its batch."""
    exchanges = [c._exchange for c in server.connections if hasattr(c, "_exchange")]
    return [each._ticket for each in exchanges if each._ticket]


async def test_an_inference_is_answered_and_the_connection_goes_on(connect, post):
    client = await connect()
    for _ in range(3):
        await client.send(post())
        status, headers, body = await client.answer()
        assert status == 200
        assert headers["x-request-id"] == "q"
        assert "connection" not in headers
        assert json.loads(body)["outputs"][0]["data"] == [2.0, 4.0]


async def test_a_request_cut_at_any_place_is_the_same_request(connect, post):
    whole = b"\r\n\r\n" + post()
    client = await connect()
    for cut in range(1, len(whole)):
        await client.send(whole[:cut])
        await asyncio.sleep(0)
        await client.send(whole[cut:])
        status, _, body = await client.answer()
        assert status == 200
        assert json.loads(body)["outputs"][0]["data"] == [2.0, 4.0]


async def test_rows_of_requests_are_answered_in_their_order(connect, post):
    client = await connect()
    count = 50
    bodies = [post(json.dumps({**json.loads(post()[post().index(b"{"):]), "id": str(i)}).encode())
              for i in range(count)]  # fmt: skip
    await client.send(b"".join(b + GET for b in bodies))
    for i in range(count):
        status, headers, _ = await client.answer()
        assert status == 200
        assert headers["x-request-id"] == str(i)
        assert (await client.answer())[2] == b'{"live":true}'


async def test_what_comes_between_an_answer_and_the_next_request_overtakes_nothing(
    connect, post, link
):
    """Regression: bytes that came before the waiting ones were taken up were read before them."""
    link.hold = asyncio.Event()
    client = await connect()
    second = post(post()[post().index(b"{") :].replace(b'"q"', b'"second"'))
    await client.send(post() + second[:40])
    await asyncio.sleep(0.05)
    link.hold.set()
    for at in range(40, len(second)):
        await client.send(second[at : at + 1])
        await asyncio.sleep(0)
    assert (await client.answer())[1]["x-request-id"] == "q"
    assert (await client.answer())[1]["x-request-id"] == "second"


async def test_more_requests_than_are_read_ahead_are_all_answered(connect, post):
    client = await connect()
    one = post(headers=f"X-Long: {'x' * 2000}\r\n")  # the bound is one of bytes
    count = 3 * MOST_AHEAD // len(one)
    sending = asyncio.ensure_future(client.send(one * count))
    for _ in range(count):
        assert (await client.answer())[0] == 200
    await sending


async def test_a_client_that_does_not_read_is_not_worked_for(connect, post, server, link):
    client = await connect()
    client.writer.transport.pause_reading()
    client.writer.write(post(LARGE) * 1000)
    async with asyncio.timeout(60):
        while not any(c._stalled for c in server.connections):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    client.writer.transport.resume_reading()
    for _ in range(1000):
        assert (await client.answer())[0] == 200


@pytest.mark.parametrize("raw", [
    b"GET / HTTP/1.1\r\nHost: v\nX: y\r\n\r\n",
    b"GET / HTTP/1.1\nHost: v\n\n",
    b"GET / HTTP/1.1\r\nHost: v\r\nA: b\r\n c\r\n\r\n", b"GET / HTTP/1.1\r\nHost : v\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / RTSP/1.0\r\nHost: v\r\n\r\n", b"GET / HTTP/2.0\r\nHost: v\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: v\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: v\r\nContent-Length: +3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: v\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.0\r\nHost: v\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: v\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: v\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: v\r\nContent-Type: application/grpc\r\n\r\n",
    b"CONNECT v:1 HTTP/1.1\r\nHost: v\r\n\r\n", b"GET /%2e%2e%2f HTTP/1.1\r\nHost: v\r\n\r\n",
])  # fmt: skip
async def test_what_two_programs_could_read_differently_is_refused_and_closed(connect, raw):
    client = await connect()
    await client.send(raw + GET)
    status, headers, body = await client.answer()
    assert status == 400
    assert headers["connection"] == "close"
    assert json.loads(body)["error"]
    assert await client.rest() == b""


async def test_a_refusal_is_read_by_a_client_that_goes_on_sending(connect):
    client = await connect()
    await client.send(
        b"POST /v2/models/m/infer HTTP/1.1\r\nHost: v\r\nContent-Length: 9999999\r\n\r\n"
    )
    for _ in range(50):
        await client.send(b"x" * 10_000)
    assert (await client.answer())[0] == 413
    assert await client.rest() == b""


@pytest.mark.parametrize("head", [
    b"GET / HTTP/1.1\r\nHost: v\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: v\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    b"GET /" + b"x" * 300_000,
])  # fmt: skip
async def test_heads_have_bounds(connect, head):
    client = await connect()
    await client.send(head)
    assert (await client.answer())[0] == 431


async def test_a_client_that_expects_it_is_told_to_continue(connect, post):
    raw = post(headers="Expect: 100-continue\r\n")
    end = raw.index(b"\r\n\r\n") + 4
    client = await connect()
    await client.send(raw[:end])
    assert (await client.head())[0] == 100
    await client.send(raw[end:])
    assert (await client.answer())[0] == 200
    await client.send(raw[:end].replace(b"Content-Length: ", b"Content-Length: 99999"))
    assert (await client.answer())[0] == 413


@pytest.mark.parametrize(("version", "connection", "kept"), [
    ("1.1", "", True), ("1.1", "Connection: close\r\n", False), ("1.0", "", False),
    ("1.0", "Connection: Keep-Alive\r\n", True),
    ("1.1", "Connection: close\r\nConnection: keep-alive\r\n", False),
])  # fmt: skip
async def test_connections_are_kept_as_the_client_wishes(connect, post, version, connection, kept):
    client = await connect()
    await client.send(post(headers=connection, version=version))
    status, headers, _ = await client.answer()
    assert status == 200
    # A client of HTTP/1.0 that is not told it may go on waits for the connection's end.
    said = "close" if not kept else "keep-alive" if version == "1.0" else None
    assert headers.get("connection") == said
    if kept:
        await client.send(GET)
        assert (await client.answer())[0] == 200
    else:
        assert await client.rest() == b""


async def test_head_has_no_body(connect):
    client = await connect()
    await client.send(b"HEAD /v2 HTTP/1.1\r\nHost: v\r\n\r\n" + GET)
    assert (await client.answer(body=False))[0] == 200
    assert (await client.answer())[2] == b'{"live":true}'


@pytest.mark.parametrize("ident", ["a\\r\\nX-Evil: 1", "a\\u0000", "\\ud83d\\ude00"])
async def test_an_id_cannot_end_its_header(connect, post, ident):
    client = await connect()
    await client.send(post(post()[post().index(b"{") :].replace(b'"q"', f'"{ident}"'.encode())))
    status, headers, _ = await client.answer()
    assert status == 200
    assert not {"x-evil", "X-Evil", "x-request-id"} & headers.keys()


async def test_errors_are_answered_and_the_connection_goes_on(connect, post, link):
    client = await connect()
    for error, expected in [(InvalidInput("no\r\nX: y"), 400), (RuntimeError("no"), 500)]:
        link.error = error
        await client.send(post())
        status, headers, body = await client.answer()
        assert status == expected
        assert json.loads(body)["error"]
        assert "X" not in headers
    link.error = None
    await client.send(post(b"{"))
    assert (await client.answer())[0] == 400
    await client.send(post())
    assert (await client.answer())[0] == 200


@pytest.mark.parametrize("others", [[], [(b"content-length", b"1")]])
async def test_a_line_end_in_a_header_of_the_app_is_not_sent(connect, server, others):
    async def app(scope, receive, send):
        broken = [(b"a", b"b\r\nc: d"), *others]
        await send({"type": "http.response.start", "status": 200, "headers": broken})
        await send({"type": "http.response.body", "body": b"x"})

    server.state = replace(server.state, app=app)
    client = await connect()
    await client.send(GET)
    status, headers, _ = await client.answer()
    assert status == 500
    assert "c" not in headers


@pytest.mark.parametrize("ends", [True, False])
async def test_an_app_that_fails_is_answered_for(connect, server, ends):
    async def app(scope, receive, send):
        if not ends:
            raise RuntimeError("no")

    server.state = replace(server.state, app=app)
    client = await connect()
    await client.send(GET + GET)
    assert (await client.answer())[0] == 500
    assert (await client.answer())[0] == 500


async def test_whoever_leaves_is_not_worked_for(connect, post, link, server, plane):
    link.hold = asyncio.Event()
    client = await connect()
    await client.send(post())
    async with asyncio.timeout(60):
        while not tickets(server):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    (ticket,) = tickets(server)
    await client.close()
    async with asyncio.timeout(60):
        while not ticket.item.future.cancelled() or server.connections:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    link.hold.set()


class TestHalfClose:
    """Clients that shut their side of the connection once they have asked (RFC 9112, 9.6)."""

    @pytest.fixture
    def limits(self, limits):
        return msgspec.structs.replace(limits, sweep_s=0.02)

    @pytest.mark.parametrize("path", ["infer", "app", "chunks", "http10"])
    async def test_whoever_asked_for_something_whole_gets_it(self, connect, post, link, path):
        link.hold = asyncio.Event()
        body = post()[post().index(b"{") :]
        chunked = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: v\r\nTransfer-Encoding: chunked"
        asked = {
            "infer": post(),
            "app": GET,
            "chunks": chunked + b"\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
            "http10": post(version="1.0"),
        }[path]
        client = await connect()
        await client.send(asked)
        client.writer.write_eof()
        if path != "app":
            await asyncio.sleep(0.01)
        link.hold.set()
        assert (await client.answer())[0] == 200
        assert await client.rest() == b""

    async def test_all_that_was_asked_in_a_row(self, connect, post, link):
        link.hold = asyncio.Event()
        client = await connect()
        await client.send(post() + GET + post() + GET)
        client.writer.write_eof()
        await asyncio.sleep(0.01)
        link.hold.set()
        heads = [(await client.answer())[:2] for _ in range(4)]
        assert [status for status, _ in heads] == [200] * 4
        assert [headers.get("connection") for _, headers in heads] == [None, None, None, "close"]
        assert await client.rest() == b""

    @pytest.mark.parametrize("keep", [1, 30, 90, -1])
    async def test_in_the_middle_of_a_request_it_ends_the_connection(
        self, connect, post, server, keep
    ):
        client = await connect()
        await client.send(post()[:keep])
        client.writer.write_eof()
        assert await client.rest() == b""
        async with asyncio.timeout(60):
            while server.connections:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    async def test_a_whole_request_before_half_of_one_is_answered(self, connect, post, link):
        link.hold = asyncio.Event()
        client = await connect()
        await client.send(post() + post()[:50])
        client.writer.write_eof()
        await asyncio.sleep(0.01)
        link.hold.set()
        assert (await client.answer())[0] == 200
        assert await client.rest() == b""

    async def test_whoever_has_gone_over_tcp_is_found_out(self, server, post, link):
        """Its end looks like that of one that still reads, until it is sent something."""
        link.hold = asyncio.Event()
        _, writer = await asyncio.open_connection("127.0.0.1", server.ports[0])
        writer.write(post())
        async with asyncio.timeout(60):
            while not tickets(server):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        (ticket,) = tickets(server)
        writer.close()
        async with asyncio.timeout(60):
            while not ticket.item.future.cancelled() or server.connections:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        link.hold.set()

    async def test_whoever_still_waits_gets_an_interim_answer_and_then_the_answer(
        self, connect, post, link
    ):
        link.hold = asyncio.Event()
        client = await connect()
        await client.send(post())
        client.writer.write_eof()
        assert await client.head() == (100, {})
        link.hold.set()
        assert (await client.answer())[0] == 200


class TestSlowness:
    @pytest.fixture
    def limits(self):
        return Limits(head_s=0.1, body_s=0.1, idle_s=0.1, stall_s=0.2, linger_s=0.1, sweep_s=0.02)

    async def test_a_connection_that_says_nothing_is_closed(self, connect):
        assert await (await connect()).rest() == b""
        client = await connect()
        await client.send(b"PRI *")
        assert await client.rest() == b""

    async def test_an_idle_one_as_well(self, connect, post):
        client = await connect()
        await client.send(post())
        await client.answer()
        assert await client.rest() == b""

    @pytest.mark.parametrize(
        "part", [b"GET / HT", b"POST / HTTP/1.1\r\nHost: v\r\nContent-Length: 9\r\n\r\na"]
    )
    async def test_a_request_that_does_not_end_is_refused(self, connect, part):
        client = await connect()
        await client.send(part)
        assert (await client.answer())[0] == 408
        assert await client.rest() == b""

    async def test_a_request_under_way_has_all_the_time(self, connect, post, link):
        link.hold = asyncio.Event()
        client = await connect()
        await client.send(post())
        await asyncio.sleep(0.4)
        link.hold.set()
        assert (await client.answer())[0] == 200

    async def test_answers_that_nobody_reads_are_given_up(self, connect, post, server):
        client = await connect()
        client.writer.transport.pause_reading()
        client.writer.write(post(LARGE) * 1000)
        await asyncio.sleep(0.1)
        async with asyncio.timeout(60):
            while server.connections:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("hello", [b"\x16\x03\x01\x02\x00\x01", b"\x00", b"\xff\xff", b"{"])
async def test_what_cannot_be_http_is_refused_at_once(connect, hello):
    client = await connect()
    await client.send(hello)
    status, _, body = await client.answer()
    assert status == 400
    assert b"plain HTTP" in body


@pytest.mark.parametrize("named", [True, False])
async def test_web_pages_may_read_inferences_where_they_are_named(server, connect, post, named):
    page = "http://page.example"
    server.state.app.cors = Cors([page]) if named else None
    server.state.app.access = Access(WebAccess([page] if named else []))
    server.shapes = Shapes(server.state.app.access.web, cors=named)
    for origin in (page, "http://other.example"):
        client = await connect()
        await client.send(post())
        assert "vary" not in (await client.answer())[1]
        await client.send(post(headers=f"Origin: {origin}\r\n"))
        status, headers, body = await client.answer()
        may = named and origin == page
        assert (status, b"outputs" in body) == ((200, True) if may else (403, False))
        assert headers.get("access-control-allow-origin") == (page if may else None)
