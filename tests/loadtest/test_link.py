import socket
import time

import pytest

from loadtest.link import Closed, Link
from serving.http2 import frames as f


def soon(seconds: float = 20) -> float:
    return time.monotonic() + seconds


def frames(sent: bytes) -> list[tuple[int, int, bytes]]:
    """Kind, stream and payload of each whole frame behind the preface."""
    at, found = len(f.PREFACE), []
    while at + 9 <= len(sent):
        high, low, kind, _, stream = f.read_head(sent, at)
        end = at + 9 + (high << 8 | low)
        if end > len(sent):
            break
        found.append((kind, stream, sent[at + 9 : end]))
        at = end
    return found


def body(sent: bytes) -> int:
    return sum(len(payload) for kind, _, payload in frames(sent) if kind == f.DATA)


def test_one_whose_time_is_up_at_once_is_closed(sink, monkeypatch):
    made = []
    connect = socket.create_connection

    def connected(*given, **more):
        made.append(connect(*given, **more))
        return made[-1]

    monkeypatch.setattr(socket, "create_connection", connected)
    with pytest.raises(Closed):
        Link(sink().port, soon(-1), http2=True)
    assert made[0].fileno() == -1


def test_a_body_waits_for_both_windows(sink):
    granted = {0: f.FIRST_WINDOW, 1: f.FIRST_WINDOW}

    def answer(connection, sent):
        if body(sent) > min(granted.values()):
            raise AssertionError(f"{body(sent)} bytes where {granted} were granted")
        if body(sent) == min(granted.values()):
            for stream in granted:
                connection.sendall(f.window_update(stream, 20_000))
                granted[stream] += 20_000

    server = sink(answer)
    with Link(server.port, soon(), http2=True) as link:
        link.body(1, bytes(150_000))
    server.close()
    assert body(server.received[0]) == 150_000


def test_a_larger_first_window_is_taken(sink):
    told = []

    def answer(connection, _sent):
        if not told:
            told.append(True)
            connection.sendall(f.settings({f.INITIAL_WINDOW_SIZE: 1 << 20}))
            connection.sendall(f.window_update(0, 1 << 20))

    server = sink(answer)
    with Link(server.port, soon(), http2=True) as link:
        link.body(1, bytes(500_000))
    server.close()
    assert body(server.received[0]) == 500_000


@pytest.mark.parametrize("goodbye", [b"", f.frame(f.GOAWAY, 0, 0, bytes(7) + b"\x0b")])
def test_it_says_when_the_other_end_is_gone(sink, goodbye):
    def answer(connection, _sent):
        connection.sendall(goodbye)
        if not goodbye:
            connection.close()

    def send_on(link):
        while True:
            link.send(bytes(1000))
            link.pause(0.001)

    server = sink(answer)
    with Link(server.port, soon(), http2=True) as link, pytest.raises(Closed):
        send_on(link)


def test_nothing_goes_on_past_the_deadline(sink):
    server = sink()
    with Link(server.port, soon(0.2), http2=True) as link, pytest.raises(Closed):
        link.body(1, bytes(f.FIRST_WINDOW + 1))  # the last byte is never allowed
