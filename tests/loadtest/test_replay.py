import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tritonclient.grpc import service_pb2

from loadtest import mlp, unique
from loadtest.null_server import Null
from loadtest.replay import replay
from serving.http2 import frames as f

SECONDS = 0.2


@pytest.fixture
async def serve() -> AsyncIterator:
    servers = []

    async def start(protocol) -> int:
        loop = asyncio.get_running_loop()
        servers.append(await loop.create_server(protocol, "127.0.0.1", 0))
        return servers[-1].sockets[0].getsockname()[1]

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


def requests(connections: int):
    return [((), unique.http_pool("json", count=10))] * connections


class Refuses(asyncio.Protocol):
    """Answers every second request with 503, in pieces."""

    def connection_made(self, transport):
        self.transport, self.count = transport, 0

    def data_received(self, data):
        self.count += 1
        status = b"200 OK" if self.count % 2 else b"503 Service Unavailable"
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nContent-")
        self.transport.write(b"Length: 5\r\n\r\nhello")


class TestHttp:
    async def test_each_answer_is_counted(self, serve):
        found = await replay(await serve(Null), requests(3), 1, SECONDS)
        assert found["problems"] == []
        assert found["statuses"] == {"200": found["requests"]}
        assert found["requests"] > 10
        assert 0 < found["p50_ms"] <= found["p99_ms"]

    async def test_refusals_are_told_apart(self, serve):
        found = await replay(await serve(Refuses), requests(1), 1, SECONDS)
        assert found["statuses"].keys() == {"200", "503"}
        assert abs(found["statuses"]["200"] - found["statuses"]["503"]) <= 1

    async def test_a_connection_that_is_lost_is_a_problem(self, serve):
        class HangsUp(asyncio.Protocol):
            def connection_made(self, transport):
                transport.close()

        found = await replay(await serve(HangsUp), requests(2), 1, SECONDS)
        assert found["problems"] == ["2 times: connection lost"]


class Fails(Null):
    """Answers each call with trailers only, as gRPC does with an error."""

    def _calls(self, data):
        at = 0
        while at + 9 <= len(data):
            high, low, kind, flags, stream = f.read_head(data, at)
            at += 9 + (high << 8 | low)
            if kind == f.DATA and flags & f.END_STREAM:
                # Never indexed: `grpc-status: 14`, a name and a value as they are.
                block = b"\x88\x10\x0bgrpc-status\x0214"
                self._transport.write(f.frame(f.HEADERS, 5, stream, block))
        self._data = b""


class Narrow(Null):
    """Opens the connection's window again when the client has to wait for it."""

    window, taken, most = b"", 0, 0

    def _calls(self, data):
        at = 0
        while at + 9 <= len(data):
            high, low, kind, _, _ = f.read_head(data, at)
            end = at + 9 + (high << 8 | low)
            if end > len(data):
                break
            if kind == f.DATA:
                self.taken += end - at - 9
            at = end
        Null._calls(self, data)
        Narrow.most = max(Narrow.most, self.taken)
        if self.taken > f.FIRST_WINDOW - 10_000:
            self._transport.write(f.window_update(0, self.taken))
            self.taken = 0


class TestGrpc:
    @pytest.fixture
    def rings(self):
        return unique.grpc_rings(2, count=300)

    async def test_each_call_is_counted(self, serve, rings):
        found = await replay(await serve(Null), rings, 8, SECONDS)
        assert found["problems"] == []
        assert found["statuses"] == {"200": found["requests"]}
        # More than both rings hold: they are repeated.
        assert found["bytes"] == 69 * found["requests"]

    async def test_errors_are_no_answers(self, serve, rings):
        found = await replay(await serve(Fails), rings, 8, SECONDS)
        assert found["statuses"].keys() == {"no message"}
        found = await replay(await serve(Fails), rings, 8, SECONDS, tell_statuses=True)
        assert found["statuses"].keys() == {"grpc-status 14"}

    async def test_it_waits_for_the_servers_window(self, serve):
        call = unique.grpc_call(b"\x88", mlp.grpc_frame(bytes(9000)))
        found = await replay(await serve(Narrow), [([], [call])], 30, 1)
        assert found["problems"] == []
        assert found["requests"] > f.FIRST_WINDOW // 9000
        assert Narrow.most <= f.FIRST_WINDOW

    async def test_another_implementation_reads_the_same_calls(self, rings):
        seen: list[tuple[str, str, str]] = []

        def answer(request, context):
            metadata = dict(context.invocation_metadata())
            seen.append((request.id, metadata["x-request-id"], metadata["traceparent"]))
            return request

        message = service_pb2.ModelInferRequest
        methods = {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(
                answer, message.FromString, lambda request: request.SerializeToString()
            )
        }
        server = grpc.server(ThreadPoolExecutor(4), options=(("grpc.so_reuseport", 0),))
        service = "inference.GRPCInferenceService"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            found = await replay(port, rings, 8, 0.5)
        finally:
            server.stop(None).wait()
        assert found["problems"] == []
        assert found["statuses"] == {"200": len(seen)}
        one = len(rings[0][0]) + len(rings[0][1])  # what a connection sends before it repeats
        assert all(len(set(each)) >= min(len(seen), one) for each in zip(*seen, strict=True))
