"""Collectors: real ones over gRPC, with TLS where that is wanted, and some that are not well."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_pb
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc

WAIT_S = 60.0


@pytest.fixture
def wait_until() -> Callable[..., None]:
    def wait(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    return wait


class GrpcReceiver:
    """An OTLP/gRPC collector that keeps the spans and lines it is sent, and their metadata."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self.spans: list[Any] = []
        self.lines: list[Any] = []
        self.metadata: list[dict[str, str]] = []
        self._server = grpc.server(ThreadPoolExecutor(2))
        trace_grpc.add_TraceServiceServicer_to_server(_Traces(self), self._server)
        logs_grpc.add_LogsServiceServicer_to_server(_Logs(self), self._server)
        if credentials is None:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.url = f"http{'s' if credentials else ''}://127.0.0.1:{self.port}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()


class _Traces(trace_grpc.TraceServiceServicer):
    def __init__(self, receiver: GrpcReceiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self._receiver.metadata.append(dict(context.invocation_metadata()))
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self._receiver.spans += scope.spans
        return trace_pb.ExportTraceServiceResponse()


class _Logs(logs_grpc.LogsServiceServicer):
    def __init__(self, receiver: GrpcReceiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self._receiver.metadata.append(dict(context.invocation_metadata()))
        for resource in request.resource_logs:
            for scope in resource.scope_logs:
                self._receiver.lines += scope.log_records
        return logs_pb.ExportLogsServiceResponse()


@pytest.fixture
def grpc_receiver() -> Iterator[GrpcReceiver]:
    receiver = GrpcReceiver()
    yield receiver
    receiver.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `server.pem` and `server.key`, signed by itself."""
    folder = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "collector")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "server.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder


@pytest.fixture
def secure_receiver(certificate: Path) -> Iterator[GrpcReceiver]:
    """A collector over TLS that takes whom the same certificate belongs to, and nobody else."""
    pem = (certificate / "server.pem").read_bytes()
    pair = ((certificate / "server.key").read_bytes(), pem)
    receiver = GrpcReceiver(grpc.ssl_server_credentials([pair], pem, require_client_auth=True))
    yield receiver
    receiver.stop()


class Relay:
    """Passes one connection on to a port, and counts the bytes on the way there."""

    def __init__(self, port: int) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self.carried = 0
        self._port = port
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError):
            near, _ = self._server.accept()
            far = socket.create_connection(("127.0.0.1", self._port))
            back = threading.Thread(target=self._pass, args=(far, near))
            back.start()
            self._pass(near, far, counts=True)
            back.join()
            near.close()
            far.close()

    def _pass(self, source: socket.socket, target: socket.socket, counts: bool = False) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self.carried += len(data) if counts else 0
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def stop(self) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


@pytest.fixture
def relayed() -> Iterator[Callable[[int], Relay]]:
    made: list[Relay] = []

    def make(port: int) -> Relay:
        made.append(Relay(port))
        return made[-1]

    yield make
    for relay in made:
        relay.stop()


# -- those that are not well ------------------------------------------------------------------

CLOSED = b""
"""What is read when the other side has gone."""


class BadCollector:
    """A server that takes connections and then does not do what a collector does.

    Attributes:
        url: where it is.
        taken: connections so far.
        sent: bytes that it has answered.
    """

    def __init__(self, how: str) -> None:
        self._how = getattr(self, f"_{how}")
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self.taken = self.sent = 0
        self._open: list[socket.socket] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def stop(self) -> None:
        self._ended.set()
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.taken += 1
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            self._how(connection)

    def _answer(self, connection: socket.socket, data: bytes) -> None:
        connection.sendall(data)
        self.sent += len(data)

    def _never_reads(self, connection: socket.socket) -> None:
        self._ended.wait()

    def _reads_slowly(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        while connection.recv(1) != CLOSED:
            self._ended.wait(0.05)

    def _answers_slowly(self, connection: socket.socket) -> None:
        connection.recv(1 << 16)
        for byte in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 60_000:
            self._answer(connection, bytes([byte]))
            self._ended.wait(0.01)

    def _body_comes_slowly(self, connection: socket.socket) -> None:
        connection.recv(1 << 16)
        self._answer(connection, b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n")
        while not self._ended.wait(0.01):
            self._answer(connection, b"y")

    def _never_ends(self, connection: socket.socket) -> None:
        connection.recv(1 << 16)
        self._answer(connection, b"HTTP/1.1 200 OK\r\n\r\n")
        while not self._ended.is_set():
            self._answer(connection, b"y" * (1 << 16))

    def _answers_garbage(self, connection: socket.socket) -> None:
        connection.recv(1 << 16)
        self._answer(connection, b"\x00\xff garbage\r\n" * 100)
        connection.shutdown(socket.SHUT_RDWR)

    def _has_no_time(self, connection: socket.socket) -> None:
        while connection.recv(1 << 16) != CLOSED:
            head = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 3600\r\n"
            self._answer(connection, head + b"content-length: 0\r\n\r\n")


@pytest.fixture
def bad_collector() -> Iterator[Callable[[str], BadCollector]]:
    made: list[BadCollector] = []

    def make(how: str) -> BadCollector:
        made.append(BadCollector(how))
        return made[-1]

    yield make
    for collector in made:
        collector.stop()


@pytest.fixture
def unanswered() -> Iterator[str]:
    """The URL of a port whose backlog is full: nobody answers who wants to connect."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"
        for each in waiting:
            each.close()
