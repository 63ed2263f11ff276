"""What every connection does: keep what cannot be worked on, pause, and give up slow clients."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from serving.gateway.direct.connection import SLOWEST, Connection, LingeringClose
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
