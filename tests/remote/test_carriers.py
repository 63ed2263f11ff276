"""What went wrong on the way to another server, told from what the server itself says."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType

import grpc
import pytest

from serving.errors import ModelFailed, ModelNotReady, Unreachable
from serving.remote.access import Access
from serving.remote.address import parse_address
from serving.remote.carriers import _grpc_error, open_async_carrier, open_carrier
from serving.remote.pending import awaited
from serving.remote.wire import UpstreamCall

NOBODY = parse_address("grpc://127.0.0.1:1")


class Unavailable(grpc.RpcError):
    def __init__(self, details: str) -> None:
        self._details = details

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return self._details


async def refusal() -> str:
    """Return what gRPC says of a call to an address where nobody is."""
    async with grpc.aio.insecure_channel(NOBODY.netloc) as channel:
        with pytest.raises(grpc.RpcError) as failed:
            await channel.unary_unary("/a/b", None, None)(b"", timeout=60)
    return str(failed.value.details())


async def test_nobody_is_there_although_somebody_has_come_since() -> None:
    late = Unavailable(await refusal())
    assert type(_grpc_error(late, NOBODY, 1, connected=True)) is Unreachable


async def test_a_server_says_itself_that_it_is_not_available() -> None:
    error = _grpc_error(Unavailable("not now"), NOBODY, 1, connected=True)
    assert type(error) is ModelNotReady
    assert error.message == "not now"
    assert type(_grpc_error(Unavailable("gone"), NOBODY, 1, connected=False)) is Unreachable


@pytest.mark.parametrize("url", ["grpc://127.0.0.1:1", "http://127.0.0.1:1"])
async def test_every_carrier_says_that_nobody_is_there(url: str) -> None:
    address, call = parse_address(url), UpstreamCall("/v2", b"{}")
    blocking, carrier = open_carrier(address, Access()), open_async_carrier(address, Access())
    with pytest.raises(Unreachable, match="cannot be reached; start it"):
        blocking.send(call, 10)
    with pytest.raises(Unreachable, match="cannot be reached; start it"):
        await awaited(lambda callback: carrier.ask(call, 10, callback))
    blocking.close()
    await carrier.close()


class Endless(BaseHTTPRequestHandler):
    """Answers every GET with a length of 5000 digits."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.send_header("Inference-Header-Content-Length", "9" * 5000)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Be quiet."""


def test_a_blocking_carrier_reads_no_length_of_any_digits(http_servers: ModuleType) -> None:
    with http_servers.in_thread(HTTPServer(("127.0.0.1", 0), Endless)) as server:
        carrier = open_carrier(parse_address(f"http://127.0.0.1:{server.server_port}"), Access())
        try:
            with pytest.raises(ModelFailed, match="must be a number of bytes"):
                carrier.send(UpstreamCall("/v2"), 10)
        finally:
            carrier.close()
