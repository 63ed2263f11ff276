"""Secrets and certificates for other servers: gRPC with TLS and HTTPS, which check them."""

from __future__ import annotations

import asyncio
import datetime
import http.server
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import grpc.aio
import msgspec
import numpy as np
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from serving.channel.endpoint import connect as connect_channel
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.inference import BatchMeta, ResultMeta
from serving.config import ConfigError, ModelConfig, RemoteCredentials, RemoteTls
from serving.errors import ModelNotReady, NoReplica, Unreachable, UpstreamDenied
from serving.protocol.grpc.codec import decode_request, encode_response
from serving.protocol.messages import InferResponse, Tensor
from serving.protocol.pb import open_inference_pb2 as pb
from serving.remote.access import access_of
from serving.remote.address import parse_address
from serving.remote.client import AsyncClient, Client
from serving.remote.discovery.discover import connect
from serving.remote.discovery.watch import write_repository
from serving.remote.wire import NOTHING
from serving.replica.role import make_replica

TOKEN = "canary-7f3a"
X = Tensor("x", "FP32", (1, 2), np.array([[1, 2]], np.float32))


# -- certificates -----------------------------------------------------------------------------


def _issue(folder: Path, name: str, by: tuple[Any, Any] | None) -> tuple[Any, Any]:
    """Write `name.pem` and `name.key`; signed by another one, or by itself as an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by[0].subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(by[1] if by else key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made, key


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, a server and a client of it, and a stranger."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = _issue(folder, "authority", None)
    _issue(folder, "server", authority)
    _issue(folder, "client", authority)
    _issue(folder, "stranger", None)
    return folder


# -- servers ----------------------------------------------------------------------------------


class Guarded:
    """A gRPC server with TLS that answers whoever has the secret, and repeats it to others."""

    def __init__(self, certificates: Path) -> None:
        self.header, self.value = "authorization", f"Bearer {TOKEN}"
        self._files = certificates
        self.port = 0

    async def start(self, *, mutual: bool = False) -> None:
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        methods = {
            "ModelReady": lambda _: pb.ModelReadyResponse(ready=True),
            "ModelMetadata": lambda _: pb.ModelMetadataResponse(name="m", versions=["1"]),
            "ModelInfer": self._double,
        }
        handlers = {name: self._handler(method) for name, method in methods.items()}
        service = "inference.GRPCInferenceService"
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, handlers),)
        )
        pair = tuple((self._files / f"server.{kind}").read_bytes() for kind in ("key", "pem"))
        authority = (self._files / "authority.pem").read_bytes() if mutual else None
        credentials = grpc.ssl_server_credentials([pair], authority, mutual)
        self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        await self._server.start()

    def _handler(self, method: Any) -> Any:
        async def answer(data: bytes, context: grpc.aio.ServicerContext) -> bytes:
            given = dict(context.invocation_metadata() or ()).get(self.header)
            if given != self.value:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"not {given}")
            return method(data).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)

    @staticmethod
    def _double(data: bytes) -> pb.ModelInferResponse:
        request = decode_request(pb.ModelInferRequest.FromString(data))
        x = request.inputs[0]
        answer = InferResponse("m", "1", "", (Tensor("y", "FP32", x.shape, x.data * 2),))
        return encode_response(answer, request)

    async def stop(self) -> None:
        await self._server.stop(None)


@pytest.fixture
async def guarded(certificates: Path) -> AsyncIterator[Guarded]:
    server = Guarded(certificates)
    await server.start()
    yield server
    await server.stop()


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        tensors = {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        }
        pages: dict[str, Any] = {
            "/v2": {"extensions": []},
            "/v2/repository/index": [{"name": "m", "version": "1", "state": "READY"}],
            "/v2/models/m": {"name": "m", **tensors},
        }
        allowed = self.headers.get("authorization") == f"Bearer {TOKEN}"
        found = pages.get(self.path)
        status = 403 if not allowed else 404 if found is None else 200
        body = json.dumps(found if status == 200 else {"error": "no"}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def https(certificates: Path, http_servers: ModuleType) -> Iterator[str]:
    """`HOST:PORT` of a server with TLS that wants the token."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    # In the thread of the connection: a client that breaks it off must not end the server.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    with http_servers.in_thread(server):
        yield f"127.0.0.1:{server.server_address[1]}"


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


def trusting(certificates: Path, **more: str) -> RemoteTls:
    return RemoteTls(ca_file=str(certificates / "authority.pem"), **more)


async def asked(server: Guarded, credentials: Any, tls: Any) -> list[Tensor]:
    """Ask without blocking, and then blocking; both must answer the same."""
    address = parse_address(f"grpcs://127.0.0.1:{server.port}")
    access = access_of(address, credentials, tls, Path())
    client = AsyncClient(address, "m", "", 10, access)
    try:
        outputs = (await client.infer(NOTHING, [X])).tensors
    finally:
        await client.close()

    def blocking() -> list[Tensor]:
        client = Client(address, 10, access)
        try:
            return client.infer("m", "", [X]).tensors
        finally:
            client.close()

    (again,) = await asyncio.to_thread(blocking)
    assert np.array_equal(outputs[0].data, again.data)
    return outputs


# -- gRPC -------------------------------------------------------------------------------------


async def test_a_token_from_a_file_opens_the_server(guarded, certificates, token):
    (y,) = await asked(guarded, RemoteCredentials(file=str(token)), trusting(certificates))
    assert y.data.tolist() == [[2, 4]]


async def test_another_header_carries_the_secret_as_it_is(guarded, certificates, monkeypatch):
    guarded.header, guarded.value = "x-api-key", TOKEN
    monkeypatch.setenv("KEY_OF_THE_SERVER", TOKEN)
    credentials = RemoteCredentials(env="KEY_OF_THE_SERVER", header="x-api-key")
    assert await asked(guarded, credentials, trusting(certificates))


async def test_a_wrong_token_is_told_without_repeating_it(guarded, certificates, token):
    guarded.value = "Bearer other"
    with pytest.raises(UpstreamDenied, match=r"correct remote\.credentials") as told:
        await asked(guarded, RemoteCredentials(file=str(token)), trusting(certificates))
    assert TOKEN not in str(told.value)
    with pytest.raises(UpstreamDenied):
        await asked(guarded, None, trusting(certificates))


async def test_a_token_that_is_replaced_is_read_again(guarded, certificates, token):
    address = parse_address(f"grpcs://127.0.0.1:{guarded.port}")
    credentials = RemoteCredentials(file=str(token))
    access = access_of(address, credentials, trusting(certificates), Path())
    client = AsyncClient(address, "m", "", 10, access)
    try:
        assert await client.infer(NOTHING, [X])
        guarded.value = "Bearer second"
        fresh = token.with_name("fresh")
        fresh.write_text("second")
        fresh.replace(token)
        assert await client.infer(NOTHING, [X])
        token.write_text("")  # somebody is about to write it
        assert await client.infer(NOTHING, [X])
        token.unlink()
        assert await client.infer(NOTHING, [X])
    finally:
        await client.close()


async def test_a_server_that_cannot_be_trusted_gets_nothing(guarded, certificates, token):
    tls = RemoteTls(ca_file=str(certificates / "stranger.pem"))
    with pytest.raises(Unreachable, match="does not trust"):
        await asked(guarded, RemoteCredentials(file=str(token)), tls)
    with pytest.raises(Unreachable, match="does not trust"):
        await asked(guarded, RemoteCredentials(file=str(token)), None)


async def test_a_certificate_of_our_own(certificates, token):
    server = Guarded(certificates)
    await server.start(mutual=True)
    try:
        own = {kind: str(certificates / f"client.{end}") for kind, end in
               (("cert_file", "pem"), ("key_file", "key"))}  # fmt: skip
        credentials = RemoteCredentials(file=str(token))
        assert await asked(server, credentials, trusting(certificates, **own))
        with pytest.raises(ModelNotReady):
            await asked(server, credentials, trusting(certificates))
    finally:
        await server.stop()


async def test_a_replica_passes_batches_on_with_it(guarded, certificates, token, tmp_path):
    def role(**credentials: str) -> Any:
        config = ModelConfig.model_validate(
            {
                "format": "remote",
                "remote": {
                    "url": f"grpcs://127.0.0.1:{guarded.port}",
                    "credentials": credentials,
                    "tls": {"ca_file": str(certificates / "authority.pem")},
                },
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
            }
        )
        served = ServedModel("m", "1", config.model_dump_json().encode(), str(tmp_path / "m" / "1"))
        address = f"unix:{tmp_path}/replica.sock"
        return make_replica(served, "replica-m-1", address, f"unix:{tmp_path}/registry.sock")

    with pytest.raises(ConfigError, match=r"NOBODY_SET_THIS .* is not set"):
        role(env="NOBODY_SET_THIS").load()
    (tmp_path / "m").mkdir()
    token.rename(tmp_path / "m" / "token")
    made = role(file="token")  # beside model.yaml
    made.load()
    connection = await connect_channel(await made.start())
    try:
        reply = await connection.request("infer", BatchMeta((1,)), [X])
        assert msgspec.msgpack.decode(reply.meta, type=ResultMeta).failed == {}
        assert reply.tensors[0].data.tolist() == [[2, 4]]
    finally:
        connection.close()
        await made.stop()


# -- HTTPS and `vigil watch` ------------------------------------------------------------------


def test_watching_finds_the_server_and_keeps_no_secret(https, certificates, token, tmp_path):
    folder, said = tmp_path / "watched", []
    sections = {
        "credentials": RemoteCredentials(file=str(token)),
        "tls": trusting(certificates),
    }
    names = write_repository(https, folder, [], {}, said.append, keep=False, **sections)
    assert names == ["m"]
    text = (folder / "m" / "model.yaml").read_text()
    assert TOKEN not in text + " ".join(said)
    remote = ModelConfig.model_validate(yaml.safe_load(text)).remote
    assert remote.url == f"https://{https}"
    assert remote.credentials == sections["credentials"]
    assert remote.tls == sections["tls"]


def test_watching_without_the_right_secret_says_so(https, certificates, token):
    token.write_text("other")
    for credentials in (None, RemoteCredentials(file=str(token))):
        with pytest.raises(UpstreamDenied, match="status 403"):
            connect(f"https://{https}", credentials, trusting(certificates))
        with pytest.raises(UpstreamDenied, match="status 403"):
            connect(https, credentials, trusting(certificates))


def test_an_https_server_that_cannot_be_trusted(https, token):
    with pytest.raises(Unreachable, match="does not trust"):
        connect(f"https://{https}", RemoteCredentials(file=str(token)), None)
    with pytest.raises(NoReplica):
        connect(https)


# -- what is refused before anything is sent --------------------------------------------------


@pytest.mark.parametrize(
    ("content", "why"),
    [("", "one secret"), ("a b", "one secret"), ("a\r\nx: y", "one secret"), ("ö", "one secret"),
     (b"\xff", "not text"), (None, "No such file")],
)  # fmt: skip
def test_what_cannot_be_a_secret(tmp_path, content, why):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    address = parse_address("grpcs://elsewhere:1")
    with pytest.raises(ConfigError, match=why) as told:
        access_of(address, RemoteCredentials(file=str(file)), None, Path())
    assert "x: y" not in str(told.value)


def test_no_secret_travels_in_the_clear_unless_allowed(token):
    for url in ("grpc://elsewhere:1", "http://elsewhere:1"):
        with pytest.raises(ConfigError, match="in the clear"):
            access_of(parse_address(url), RemoteCredentials(file=str(token)), None, Path())
        allowed = RemoteCredentials(file=str(token), unencrypted=True)
        headers = access_of(parse_address(url), allowed, None, Path()).headers()
        assert headers == {"authorization": f"Bearer {TOKEN}"}
    near = parse_address("http://127.0.0.1:1")
    assert access_of(near, RemoteCredentials(file=str(token)), None, Path()).headers()


def test_certificates_that_are_none(certificates, tmp_path):
    address = parse_address("grpcs://elsewhere:1")
    (tmp_path / "noise.pem").write_text("noise")
    key = str(certificates / "stranger.key")
    for tls, why in [
        (RemoteTls(ca_file=str(tmp_path / "none.pem")), "ca_file names it"),
        (RemoteTls(ca_file=str(tmp_path / "noise.pem")), "no certificate"),
        (RemoteTls(cert_file=str(certificates / "client.pem"), key_file=key), "no key that fits"),
    ]:
        with pytest.raises(ConfigError, match=why):
            access_of(address, None, tls, Path())
    with pytest.raises(ConfigError, match="is plain"):
        access_of(parse_address("http://elsewhere:1"), None, trusting(certificates), Path())


@pytest.mark.parametrize(
    "wrong",
    [{}, {"env": "A", "file": "b"}, {"env": "a-b"}, {"env": "A", "header": "Host"},
     {"env": "A", "header": "host"}, {"env": "A", "header": "grpc-timeout"},
     {"env": "A", "header": "x-bin"}, {"env": "A", "scheme": "Be\narer"}],
)  # fmt: skip
def test_credentials_that_are_none(wrong):
    with pytest.raises(ValidationError):
        RemoteCredentials(**wrong)


def test_credentials_of_clients_stay_off_plain_networks() -> None:
    section = RemoteCredentials(passthrough=True)
    with pytest.raises(ConfigError, match=r"credentials of clients .* in the clear"):
        access_of(parse_address("http://elsewhere:1"), section, None, Path())
    for url, given in (
        ("http://127.0.0.1:1", section),
        ("https://elsewhere:1", section),
        ("http://elsewhere:1", RemoteCredentials(passthrough=True, unencrypted=True)),
    ):
        assert access_of(parse_address(url), given, None, Path()).headers() == {}
