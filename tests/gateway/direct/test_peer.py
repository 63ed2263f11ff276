"""A request's context is made once where it enters, from what its client brings with it."""

from __future__ import annotations

import time

import pytest

from serving.access.decision import Access
from serving.gateway.direct.peer import Peer

TRACES = [f"00-{n:032x}-{n:016x}-01" for n in (1, 2, 2, 3)]


@pytest.fixture
def contexts(link):
    """Those of the requests that have reached the replica."""
    found, send = [], link.send

    async def keep(batch):
        found.extend(item.context for item in batch.items)
        return await send(batch)

    link.send = keep
    return found


class TestHttp1:
    async def test_the_trace_of_each_request_reaches_the_data_plane(self, connect, post, contexts):
        client = await connect()
        for trace in TRACES:  # the first head is parsed, the second filled in, the third the same
            await client.send(post(headers=f"traceparent: {trace}\r\n"))
            assert (await client.answer())[0] == 200
        assert [each.trace for each in contexts] == TRACES

    async def test_a_head_in_pieces_and_a_pipelined_one_bring_theirs(self, connect, post, contexts):
        client = await connect()
        row = b"".join(post(headers=f"traceparent: {trace}\r\n") for trace in TRACES)
        for piece in cut(row):
            await client.send(piece)
        for _ in TRACES:
            assert (await client.answer())[0] == 200
        assert [each.trace for each in contexts] == TRACES

    @pytest.mark.parametrize(
        "headers",
        [
            "traceparent: 00-x-y-01\r\n",
            f"traceparent: {TRACES[0]}\r\ntraceparent: {TRACES[1]}\r\n",
            f"traceparent: {TRACES[0]}{'0' * 500}\r\n",
        ],
        ids=["malformed", "twice", "long"],
    )
    async def test_what_is_no_trace_is_left_out(self, connect, post, contexts, headers):
        client = await connect()
        for _ in range(3):
            await client.send(post(headers=headers + "x: y\r\n"))
            assert (await client.answer())[0] == 200
        assert [each.trace for each in contexts] == ["", "", ""]

    async def test_requests_that_bring_nothing_share_one(self, connect, post, contexts):
        client = await connect()
        for ident in "abc":
            await client.send(post(headers=f"x-request-id: {ident}\r\n"))
            assert (await client.answer())[0] == 200
        assert contexts[0] is contexts[1] is contexts[2]

    async def test_a_trace_is_not_the_next_request_s(self, connect, post, contexts):
        client = await connect()
        for headers in (f"traceparent: {TRACES[0]}\r\n", "", f"traceparent: {TRACES[1]}\r\n", ""):
            await client.send(post(headers=headers))
            assert (await client.answer())[0] == 200
        assert [each.trace for each in contexts] == [TRACES[0], "", TRACES[1], ""]


class TestGrpc:
    async def test_the_trace_of_each_call_reaches_the_data_plane(self, connect2, message, contexts):
        client = await connect2()
        for trace in TRACES:
            stream = await client.answer(await client.call(message, ("traceparent", trace)))
            assert stream.trailers["grpc-status"] == "0"
        assert [each.trace for each in contexts] == TRACES

    async def test_what_is_no_trace_is_left_out(self, connect2, message, contexts):
        client = await connect2()
        twice = [("traceparent", TRACES[0]), ("traceparent", TRACES[1])]
        for extra in ([("traceparent", "00-x-y-01")], twice, [("traceparent", "0" * 500)]):
            stream = await client.answer(await client.call(message, *extra))
            assert stream.trailers["grpc-status"] == "0"
        assert [each.trace for each in contexts] == ["", "", ""]

    async def test_a_deadline_is_absolute_and_each_call_s_own(self, connect2, message, contexts):
        client = await connect2()
        before = time.monotonic()
        for timeout in ("100S", "100S", "200S"):
            await client.answer(await client.call(message, ("grpc-timeout", timeout)))
        after = time.monotonic()
        first, second, third = [each.deadline for each in contexts]
        assert before + 100 <= first < second <= after + 100
        assert before + 200 <= third <= after + 200

    async def test_a_deadline_begins_with_the_headers_and_not_with_the_end_of_the_body(
        self, connect2, message, contexts, server
    ):
        client = await connect2()
        ident = client.h2.get_next_available_stream_id()
        start = [
            (":method", "POST"), (":scheme", "http"), (":authority", "vigil"),
            (":path", "/inference.GRPCInferenceService/ModelInfer"),
            ("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "1n"),
        ]  # fmt: skip
        client.h2.send_headers(ident, start)
        await client.flush()
        client.h2.send_data(
            ident, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True
        )
        await client.flush()
        assert (await client.answer(ident)).headers["grpc-status"] == "4"
        assert contexts == []

    async def test_calls_that_bring_nothing_share_one(self, connect2, message, contexts):
        client = await connect2()
        for ident in "abc":
            await client.answer(await client.call(message, ("x-request-id", ident)))
        assert contexts[0] is contexts[1] is contexts[2]


class TestPeer:
    def test_without_a_proxy_everybody_is_the_peer(self):
        peer = Peer(("10.0.0.1", 4000), 0, Access())
        assert peer.context("1.1.1.1", None, b"", b"").client == "10.0.0.1"
        assert peer.context("1.1.1.1", 5.0, TRACES[0].encode(), b"").client == "10.0.0.1"

    def test_behind_proxies_each_request_has_its_own_client(self):
        peer = Peer(("10.0.0.1", 4000), 1, Access())
        clients = [peer.context(each, None, b"", b"").client for each in ("1.1.1.1", "2.2.2.2", "")]
        assert clients == ["1.1.1.1", "2.2.2.2", "10.0.0.1"]

    @pytest.mark.parametrize(
        ("forwarded", "proxies", "client"),
        [
            ("1.1.1.1", 0, "peer"),
            ("1.1.1.1", 1, "1.1.1.1"),
            ("6.6.6.6, 1.1.1.1", 1, "1.1.1.1"),
            ("6.6.6.6, 1.1.1.1, 10.0.0.1", 2, "1.1.1.1"),
            ("1.1.1.1", 2, "peer"),
            ("", 1, "peer"),
            ("6.6.6.6,", 1, "peer"),
        ],
    )
    def test_only_what_trusted_proxies_added_counts(self, forwarded, proxies, client):
        peer = Peer(("peer", 4000), proxies, Access())
        assert peer.asking(forwarded) == client
        assert peer.context(forwarded, None, TRACES[0].encode(), b"").client == client

    def test_a_unix_socket_has_no_address(self):
        peer = Peer(None, 0, Access())
        assert (peer.host, peer.port, peer.context("1.1.1.1", None, b"", b"").client) == ("", 0, "")


def cut(data, size=100):
    return [data[at : at + size] for at in range(0, len(data), size)]
