"""Sockets that any thread can end, and what is kept of them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from serving.telemetry.cancellable_sockets import CancellableSockets


class Connection:
    """Has a socket while it is open."""

    def __init__(self) -> None:
        self.sock: socket.socket | None = None

    def close(self) -> None:
        sock, self.sock = self.sock, None
        if sock is not None:
            sock.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(60)
        yield made


@pytest.fixture
def owner() -> Iterator[Connection]:
    made = Connection()
    yield made
    made.close()


@pytest.fixture
def sockets(owner: Connection) -> Iterator[CancellableSockets]:
    made = CancellableSockets()
    yield made
    owner.close()
    made.tidy()
    assert made._kept == {}


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def connect(
    sockets: CancellableSockets, owner: Connection, host: str, port: int
) -> tuple[int, socket.socket]:
    number = sockets.begin()
    owner.sock = sockets.connect(owner, host, port, 60, [(socket.IPPROTO_TCP, 1, 1)])
    return number, owner.sock


def knows(found: Callable[[], list[Any]]) -> Callable[..., list[Any]]:
    """Return a `getaddrinfo` that knows names, and that takes no name for an address."""

    def find(_host: str, _port: int, *_args: Any, flags: int = 0, **_more: Any) -> list[Any]:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found()

    return find


def address(port: int) -> tuple[Any, ...]:
    return (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))


def test_what_is_connected_waits_for_its_peer_within_the_timeout(
    sockets: CancellableSockets, owner: Connection, server: socket.socket
) -> None:
    _, made = connect(sockets, owner, "127.0.0.1", port_of(server))
    peer, _ = server.accept()
    with peer:
        made.sendall(b"x")
        assert peer.recv(9) == b"x"
        assert made.gettimeout() == 60
        assert made.getsockopt(socket.IPPROTO_TCP, 1)


def test_a_name_s_first_address_that_answers_is_taken(
    sockets: CancellableSockets, owner: Connection, server: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as gone:
        refuses = port_of(gone)
    found = [address(refuses), address(port_of(server))]
    monkeypatch.setattr(socket, "getaddrinfo", knows(lambda: found))
    _, made = connect(sockets, owner, "collector", 4318)
    assert made.getpeername()[1] == port_of(server)


def test_an_address_of_the_sixth_version_stands_in_brackets(
    sockets: CancellableSockets, owner: Connection
) -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        _, made = connect(sockets, owner, "[::1]", port_of(server))
        assert made.family == socket.AF_INET6


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "^collector has no address$"),
        (socket.gaierror(-2, "Name or service not known"), "^collector is not known: .*Name or"),
        (UnicodeError("label too long"), "^collector is not known: label too long$"),
    ],
)
def test_why_a_host_has_no_address(
    sockets: CancellableSockets, owner: Connection, monkeypatch: pytest.MonkeyPatch,
    found: list[Any] | Exception, said: str,
) -> None:  # fmt: skip
    def find() -> list[Any]:
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(socket, "getaddrinfo", knows(find))
    for _ in range(2):  # and it is asked again
        with pytest.raises(OSError, match=said):
            connect(sockets, owner, "collector", 4318)


def test_an_address_that_refuses_or_has_no_time(
    sockets: CancellableSockets, owner: Connection, unanswered: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = port_of(gone)
    with pytest.raises(ConnectionRefusedError):
        connect(sockets, owner, "127.0.0.1", port)
    with pytest.raises(TimeoutError, match=r"nobody has answered within 0.01 s"):
        sockets.connect(owner, "127.0.0.1", int(unanswered.rpartition(":")[2]), 0.01, ())


def test_more_time_than_the_kernel_can_wait(
    sockets: CancellableSockets, owner: Connection, server: socket.socket
) -> None:
    sockets.begin()
    owner.sock = sockets.connect(owner, "127.0.0.1", port_of(server), threading.TIMEOUT_MAX / 2, ())
    assert owner.sock.getpeername()[1] == port_of(server)


def test_cancelling_ends_what_a_connection_reads(
    sockets: CancellableSockets, owner: Connection, server: socket.socket
) -> None:
    number, made = connect(sockets, owner, "127.0.0.1", port_of(server))
    owner.sock = None  # as of a connection that lets go of it, and whose answer is still read
    cancelling = threading.Thread(target=sockets.cancel, args=[number])
    cancelling.start()
    with made, contextlib.suppress(ConnectionError):
        assert made.recv(9) == b""
    cancelling.join()
    assert sockets.cancelled
    with pytest.raises(ConnectionAbortedError, match="it was cancelled"):
        sockets.connect(owner, "127.0.0.1", port_of(server), 60, ())


def test_a_request_that_is_over_cannot_end_the_next_one(
    sockets: CancellableSockets, owner: Connection, server: socket.socket
) -> None:
    first = sockets.begin()
    _, made = connect(sockets, owner, "127.0.0.1", port_of(server))
    sockets.cancel(first)
    assert not sockets.cancelled
    peer, _ = server.accept()
    with peer:
        peer.sendall(b"x")
        assert made.recv(9) == b"x"


def test_after_the_end_nothing_begins(sockets: CancellableSockets) -> None:
    number = sockets.begin()
    sockets.cancel()
    for again in (number, None):
        sockets.cancel(again)
        with pytest.raises(ConnectionAbortedError, match="the session is closed"):
            sockets.begin()


def test_a_connection_that_is_opened_again_has_one_socket_here(
    sockets: CancellableSockets, owner: Connection, server: socket.socket
) -> None:
    connect(sockets, owner, "127.0.0.1", port_of(server))
    before = sockets._kept[owner]
    owner.close()
    connect(sockets, owner, "127.0.0.1", port_of(server))
    assert before.fileno() == -1
    sockets.tidy()
    assert list(sockets._kept) == [owner]


def test_requests_that_wait_for_a_name_share_one_lookup(
    sockets: CancellableSockets, owner: Connection, server: socket.socket,
    monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None],
) -> None:  # fmt: skip
    lookups, ends = list[int](), threading.Event()

    def find() -> list[Any]:
        lookups.append(1)
        ends.wait(60)
        return [address(port_of(server))]

    monkeypatch.setattr(socket, "getaddrinfo", knows(find))
    for _ in range(3):
        number = sockets.begin()
        cancelling = threading.Timer(0.01, sockets.cancel, [number])
        cancelling.start()
        with pytest.raises(ConnectionAbortedError):
            sockets.connect(owner, "collector", 4318, 60, ())
        cancelling.join()
    wait_until(lambda: lookups)
    assert len(lookups) == 1
    ends.set()
    lookup = sockets._lookup
    assert lookup is not None
    wait_until(lambda: lookup.found is not None)
    _, made = connect(sockets, owner, "collector", 4318)
    assert made.getpeername()[1] == port_of(server)
    assert len(lookups) == 2  # what was found too late is not used
