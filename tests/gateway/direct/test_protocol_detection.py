"""Which protocol a new connection speaks, as soon as its first bytes say so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from serving.access.decision import Access
from serving.gateway.direct import protocol_detection
from serving.gateway.direct.connection import NEVER
from serving.gateway.direct.protocol_detection import NewConnection, ProtocolDetection
from serving.gateway.direct.state import Connections
from serving.http2.frames import PREFACE


class Transport:
    """Keeps its protocol, and whether it was closed."""

    def __init__(self, peername: Any = ("10.0.0.7", 5)) -> None:
        self.peername, self.protocol, self.closing = peername, None, False

    def get_extra_info(self, name: str) -> Any:
        return {"peername": self.peername}[name]

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def __getattr__(self, _name: str) -> Any:
        return lambda *_: None


class Speaking:
    """A connection that speaks its protocol; it remembers what it was made of and told."""

    def __init__(self, *given: Any) -> None:
        self.given, self.said = given, []

    def stop(self) -> None:
        self.said.append("stop")

    def data_received(self, data: bytes) -> None:
        self.said.append(data)


class Speaking1(Speaking):
    pass


class Speaking2(Speaking):
    pass


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(protocol_detection, "Http1", Speaking1)
    monkeypatch.setattr(protocol_detection, "Http2", Speaking2)
    clock = SimpleNamespace(head_until=10.0, stall_until=20.0, linger_until=5.0, elapsed_s=1.0)
    return SimpleNamespace(clock=clock, connections=Connections(), proxies=0, access=Access())


def connect(state: Any, transport: Any) -> Any:
    NewConnection(state, "shapes", "shapes2").connection_made(transport)  # type: ignore[arg-type]
    return transport.protocol


@pytest.mark.parametrize(
    ("name", "address"),
    [(("10.0.0.7", 5), ("10.0.0.7", 5)), (("::1", 5, 0, 0), ("::1", 5)), ("", None), (None, None)],
)
def test_a_connection_knows_its_peer_where_it_has_an_address(
    monkeypatch: pytest.MonkeyPatch, state: Any, name: Any, address: Any
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(protocol_detection, "Peer", lambda *given: made.append(given))
    undecided = connect(state, Transport(name))
    assert isinstance(undecided, ProtocolDetection)
    assert made == [(address, state.proxies, state.access)]
    assert state.connections.open == {undecided}


HTTP1 = [
    b"G",
    b"GET / HTTP/1.1\r\n\r\n",
    b"PUT",
    b"PRI * HTTP/1.1",
    b"\x16\x03\x01",
    b"\r\n",
    b"pri",
]
HTTP2 = [PREFACE, PREFACE + b"more"]


@pytest.mark.parametrize(
    ("first", "kind", "shapes"),
    [*((first, Speaking1, "shapes") for first in HTTP1),
     *((first, Speaking2, "shapes2") for first in HTTP2)],
)  # fmt: skip
def test_the_first_bytes_choose_the_protocol(
    state: Any, first: bytes, kind: type[Speaking], shapes: str
) -> None:
    transport = Transport()
    undecided = connect(state, transport)
    undecided.data_received(first)
    chosen: Any = transport.protocol
    assert type(chosen) is kind
    assert chosen.said == [first]
    assert chosen.given[:2] == (state, transport)
    assert chosen.given[3] == shapes
    assert undecided not in state.connections.open


@pytest.mark.parametrize("at", range(1, len(PREFACE)))
def test_the_preface_may_come_in_pieces(state: Any, at: int) -> None:
    transport = Transport()
    undecided = connect(state, transport)
    undecided.data_received(PREFACE[:at])
    assert transport.protocol is undecided
    assert undecided in state.connections.open
    undecided.data_received(PREFACE[at:] + b"rest")
    chosen: Any = transport.protocol
    assert type(chosen) is Speaking2
    assert chosen.said == [PREFACE + b"rest"]


@pytest.mark.parametrize("at", range(1, len(PREFACE)))
def test_what_begins_like_the_preface_may_yet_be_http_1(state: Any, at: int) -> None:
    transport = Transport()
    undecided = connect(state, transport)
    undecided.data_received(PREFACE[:at])
    undecided.data_received(b"?")
    chosen: Any = transport.protocol
    assert type(chosen) is Speaking1
    assert chosen.said == [PREFACE[:at] + b"?"]


def test_one_that_speaks_after_the_end_began_is_told_before_its_first_bytes(state: Any) -> None:
    transport = Transport()
    undecided = connect(state, transport)
    undecided.stop()  # it may still speak
    assert not transport.closing
    state.connections.stopping = True
    undecided.data_received(b"GET")
    chosen: Any = transport.protocol
    assert chosen.said == ["stop", b"GET"]


def test_one_that_has_said_nothing_by_the_end_is_closed(state: Any) -> None:
    transport = Transport()
    connect(state, transport).stopped()
    assert transport.closing


def test_one_that_says_too_little_is_closed_once_its_time_is_over(state: Any) -> None:
    transport = Transport()
    undecided = connect(state, transport)
    undecided.data_received(PREFACE[:3])
    undecided.sweep(9.0)
    assert not transport.closing
    undecided.sweep(11.0)
    assert transport.closing
    assert undecided.deadline == NEVER


def test_one_that_is_lost_is_open_no_more(state: Any) -> None:
    undecided = connect(state, Transport())
    undecided.connection_lost(None)
    assert state.connections.open == set()
    assert undecided.deadline == NEVER
