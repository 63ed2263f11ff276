"""What every connection does: keep what cannot be worked on, pause, and give up slow clients."""

from __future__ import annotations

import contextlib
import socket
import struct
from types import SimpleNamespace

import pytest

from serving.gateway.direct.connection import MOST_AHEAD, SLOWEST, Connection, LingeringClose
from serving.gateway.direct.state import Connections


class Transport:
    """Keeps what it was told; `unread` bytes wait for the client."""

    def __init__(self):
        self.said, self.closing, self.unread, self.protocol = [], False, 0, None

    def __getattr__(self, name):
        return lambda *_: self.said.append(name)

    def is_closing(self):
        return self.closing

    def can_write_eof(self):
        return True

    def set_protocol(self, protocol):
        self.protocol = protocol

    def get_write_buffer_size(self):
        return self.unread


class Plain(Connection):
    """Tells how it ended."""

    ended = ""

    def lost(self):
        self.ended += "lost "

    def too_slow(self):
        self.ended += "too slow "


@pytest.fixture
def wire():
    return Transport()


@pytest.fixture
def state():
    clock = SimpleNamespace(head_until=10.0, stall_until=20.0, linger_until=5.0, elapsed_s=1.0)
    return SimpleNamespace(clock=clock, connections=Connections())


@pytest.fixture
def connection(state, wire):
    return Plain(state, wire, None)


def test_it_is_open_until_it_is_lost(connection, state):
    assert state.connections.open == {connection}
    connection.queued = True
    connection.connection_lost(None)
    assert (state.connections.open, connection.ended) == (set(), "lost ")
    assert not connection.queued
    connection.sweep(1e9)
    assert connection.ended == "lost "


class TestSlowClients:
    @pytest.mark.parametrize(("now", "ended"), [(10.0, ""), (10.1, "too slow ")])
    def test_the_deadline(self, connection, now, ended):
        connection.greedy = True
        connection.sweep(now)
        assert (connection.ended, connection.greedy) == (ended, False)

    def test_what_waits_for_us_is_not_the_client_s_time(self, connection):
        connection.queued = True
        connection.sweep(10.5)
        assert (connection.ended, connection.deadline) == ("", 11.0)

    def test_one_that_reads_nothing_is_given_up(self, connection, wire):
        wire.unread = 9
        connection.pause_writing()
        connection.sweep(20.0)
        assert (wire.said, connection.ended) == (["pause_reading"], "")  # nor by its deadline
        connection.sweep(20.1)
        assert wire.said[-1] == "abort"

    def test_one_that_reads_a_little_has_as_much_more_time(self, connection, wire, state):
        wire.unread = 10 * SLOWEST
        connection.pause_writing()
        state.clock.stall_until = 1000.0
        wire.unread = 8 * SLOWEST
        connection.sweep(22.0)
        assert "abort" not in wire.said
        wire.unread = 9 * SLOWEST  # more was written, which is nothing taken
        connection.sweep(22.1)
        assert wire.said[-1] == "abort"

    def test_one_that_reads_again_is_read_again(self, connection, wire):
        connection.pause_writing()
        connection.resume_writing()
        assert wire.said == ["pause_reading", "resume_reading"]
        connection.sweep(9.0)
        assert "abort" not in wire.said

    def test_one_that_is_closing_is_not_read_and_must_still_read(self, connection, wire):
        wire.closing = True
        connection.pause_writing()
        connection.resume_writing()
        assert wire.said == []
        connection.sweep(20.1)
        assert wire.said == ["abort"]

    def test_after_closing_it_must_read_as_well(self, connection, wire):
        connection.close()
        connection.sweep(20.1)
        assert wire.said == ["close", "abort"]


class TestWhatWaits:
    def test_it_comes_back_in_one_from_where_it_was_left(self, connection):
        connection._keep(b"abc", 1)
        assert connection._next_data() == (b"abc", 1)
        connection._keep(b"abc", 2)
        connection._keep(b"de")
        connection._keep(b"fgh", 9)  # only the first may have been begun
        assert connection._next_data() == (b"cdefgh", 0)

    def test_what_was_taken_is_not_there_again(self, connection):
        connection._keep(b"abc", 2)
        connection._next_data()
        connection._keep(b"xyz")
        assert connection._next_data() == (b"xyz", 0)

    def test_with_too_much_of_it_no_more_is_read_until_it_is_gone(self, connection, wire):
        connection._keep(bytes(MOST_AHEAD))
        connection._read_on()
        assert wire.said == []
        connection._keep(b"x")
        connection._keep(b"x")
        assert wire.said == ["pause_reading"]
        connection._next_data()
        connection._read_on()
        connection._read_on()
        assert wire.said == ["pause_reading", "resume_reading"]
        connection._keep(bytes(MOST_AHEAD))  # nothing of the first is counted any more
        assert len(wire.said) == 2

    @pytest.mark.parametrize("why", ["stalled", "half closed", "closing"])
    def test_it_is_not_read_on_while_something_else_forbids_it(self, connection, wire, why):
        connection._keep(bytes(MOST_AHEAD + 1))
        connection._next_data()
        connection._stalled = why == "stalled"
        connection._half_closed = why == "half closed"
        wire.closing = why == "closing"
        connection._read_on()
        assert wire.said == ["pause_reading"]

    def test_one_that_is_closing_is_not_paused(self, connection, wire):
        wire.closing = True
        connection._keep(bytes(MOST_AHEAD + 1))
        assert wire.said == []

    def test_a_client_that_reads_again_is_not_read_over_the_limit(self, connection, wire, state):
        state.slices = SimpleNamespace(queue=lambda one: wire.said.append(one))
        connection._keep(bytes(MOST_AHEAD + 1))
        connection.pause_writing()
        connection.resume_writing()
        assert wire.said == ["pause_reading", "pause_reading", connection]

    def test_the_end_gives_it_up(self, connection):
        connection._keep(b"abc", 1)
        connection.connection_lost(None)
        assert (connection._later, connection._later_size, connection._at) == ([], 0, 0)


class TestHungUp:
    @pytest.fixture
    def ends(self, wire):
        """Both ends of a connection over TCP."""
        with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            served = stack.enter_context(listener.accept()[0])
            wire.get_extra_info = lambda name: {"socket": served}[name]
            yield client, served

    def test_one_that_is_there_or_only_sends_no_more_has_not(self, connection, ends):
        client, served = ends
        assert not connection._hung_up()
        client.shutdown(socket.SHUT_WR)
        assert served.recv(1) == b""
        assert not connection._hung_up()

    def test_one_whose_reset_has_come_has(self, connection, ends):
        client, served = ends
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        served.settimeout(60)
        with contextlib.suppress(ConnectionResetError):
            served.recv(1)
        assert connection._hung_up()


class TestLingering:
    def test_it_takes_the_place_of_the_connection(self, connection, state, wire):
        connection.leave()
        assert state.connections.open == {wire.protocol}
        assert isinstance(wire.protocol, LingeringClose)
        assert wire.said == ["write_eof", "resume_reading"]
        assert connection.ended == "lost "

    @pytest.mark.parametrize(("now", "closed"), [(5.0, False), (5.1, True)])
    def test_it_closes_after_its_moment_whatever_comes(self, connection, wire, now, closed):
        connection.leave()
        wire.protocol.data_received(b"late")
        wire.protocol.sweep(now)
        assert ("close" in wire.said) == closed

    def test_there_is_none_where_it_is_closing_already(self, connection, state, wire):
        wire.closing = True
        connection.leave()
        assert (wire.protocol, state.connections.open, wire.said) == (None, set(), [])
        assert connection.ended == "lost "
