"""Frames about a connection and its streams: what they do, and what a wrong one ends."""

from __future__ import annotations

from collections import deque

import pytest

from serving.dataplane.context import NO_CONTEXT
from serving.gateway.direct.connection import NEVER
from serving.gateway.direct.http2.call import Call
from serving.gateway.direct.http2.control import SETTINGS_WEIGHT, ControlFrames
from serving.http2 import frames as f
from serving.http2.frames import ProtocolError

ACKNOWLEDGED = (f.SETTINGS, f.ACK, 0, b"")


@pytest.fixture
def control(made):
    return ControlFrames(made.streams, made.sender, made.intake)


@pytest.fixture
def call(made):
    """An open stream, number 3; 1 is closed, 5 was never opened."""
    call = Call(3, None, NO_CONTEXT, 100, NEVER)
    made.streams.by_number[3] = call
    made.streams.last = 3
    return call


def settings(**values):
    names = {name: getattr(f, name) for name in values}
    return f.settings({names[name]: value for name, value in values.items()})[9:]


def number(value):
    return value.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("kind", "flags", "ident", "payload", "code"),
    [
        (f.RST_STREAM, 0, 3, bytes(3), f.FRAME_SIZE_ERROR),
        (f.RST_STREAM, 0, 3, bytes(5), f.FRAME_SIZE_ERROR),
        (f.RST_STREAM, 0, 5, bytes(4), f.PROTOCOL_ERROR),
        (f.RST_STREAM, 0, 2, bytes(4), f.PROTOCOL_ERROR),
        (f.RST_STREAM, 0, 0, bytes(4), f.PROTOCOL_ERROR),
        (f.SETTINGS, 0, 3, b"", f.PROTOCOL_ERROR),
        (f.SETTINGS, f.ACK, 3, b"", f.PROTOCOL_ERROR),
        (f.SETTINGS, f.ACK, 0, bytes(6), f.FRAME_SIZE_ERROR),
        (f.SETTINGS, 0, 0, bytes(5), f.FRAME_SIZE_ERROR),
        (f.SETTINGS, 0, 0, settings(INITIAL_WINDOW_SIZE=2**31), f.FLOW_CONTROL_ERROR),
        (f.SETTINGS, 0, 0, settings(MAX_FRAME_SIZE=2**14 - 1), f.PROTOCOL_ERROR),
        (f.SETTINGS, 0, 0, settings(MAX_FRAME_SIZE=2**24), f.PROTOCOL_ERROR),
        (f.SETTINGS, 0, 0, settings(ENABLE_PUSH=2), f.PROTOCOL_ERROR),
        (f.SETTINGS, 0, 0, settings(ENABLE_CONNECT_PROTOCOL=2), f.PROTOCOL_ERROR),
        (f.PING, 0, 3, bytes(8), f.PROTOCOL_ERROR),
        (f.PING, 0, 0, bytes(7), f.FRAME_SIZE_ERROR),
        (f.PING, f.ACK, 0, bytes(9), f.FRAME_SIZE_ERROR),
        (f.WINDOW_UPDATE, 0, 0, bytes(3), f.FRAME_SIZE_ERROR),
        (f.WINDOW_UPDATE, 0, 3, bytes(5), f.FRAME_SIZE_ERROR),
        (f.WINDOW_UPDATE, 0, 0, bytes(4), f.PROTOCOL_ERROR),
        (f.WINDOW_UPDATE, 0, 0, number(1 << 31), f.PROTOCOL_ERROR),  # the first bit is reserved
        (f.WINDOW_UPDATE, 0, 5, number(1), f.PROTOCOL_ERROR),
        (f.WINDOW_UPDATE, 0, 2, number(1), f.PROTOCOL_ERROR),
        (f.PRIORITY, 0, 0, bytes(5), f.PROTOCOL_ERROR),
        (f.PRIORITY, 0, 5, bytes(4), f.FRAME_SIZE_ERROR),
        (f.PUSH_PROMISE, 0, 3, bytes(4), f.PROTOCOL_ERROR),
        (f.GOAWAY, 0, 3, bytes(8), f.PROTOCOL_ERROR),
        (f.GOAWAY, 0, 0, bytes(7), f.FRAME_SIZE_ERROR),
    ],
)
def test_what_ends_the_connection(control, call, wire, kind, flags, ident, payload, code):
    with pytest.raises(ProtocolError) as ended:
        control.take(kind, flags, ident, payload)
    assert ended.value.code == code
    assert wire.frames() == []


@pytest.mark.parametrize(
    ("kind", "flags", "ident", "payload"),
    [
        (0xFA, 0xFF, 3, b"of a type that is not known"),
        (f.SETTINGS, f.ACK, 0, b""),
        (f.PING, f.ACK, 0, bytes(8)),
        (f.PRIORITY, 0, 3, bytes(5)),
        (f.PRIORITY, 0, 5, bytes(5)),
        (f.GOAWAY, 0, 0, bytes(8)),
        (f.GOAWAY, 0, 0, bytes(8) + b"why"),
        (f.WINDOW_UPDATE, 0, 1, number(1)),  # it was under way as the stream ended
        (f.WINDOW_UPDATE, 0, 1, number(0)),
    ],
)
def test_what_asks_for_nothing(control, call, wire, made, kind, flags, ident, payload):
    control.take(kind, flags, ident, payload)
    assert wire.frames() == []
    assert (made.streams.by_number, made.intake.strikes) == ({3: call}, 0)
    assert (made.intake.control, call.window, made.sender.room) == (0, 100, f.FIRST_WINDOW)


def test_a_ping_is_sent_back(control, wire):
    control.take(f.PING, 0, 0, b"12345678")
    assert wire.frames() == [(f.PING, f.ACK, 0, b"12345678")]


class TestResets:
    def test_the_stream_ends_without_an_answer(self, control, call, wire, made):
        call.charged = made.state.bodies.held = 10
        call.waiting = deque([(b"an answer", False)])
        control.take(f.RST_STREAM, 0, 3, number(f.CANCEL))
        assert (made.streams.by_number, made.state.bodies.held) == ({}, 0)
        assert call.waiting is None  # its work is given up
        assert wire.frames() == []
        assert made.intake.strikes == 1

    @pytest.mark.parametrize("open_before", [True, False])
    def test_it_is_the_client_s_end(self, control, call, made, open_before):
        if not open_before:
            made.streams.reset_number(3, f.CANCEL)
        control.take(f.RST_STREAM, 0, 3, number(f.CANCEL))
        with pytest.raises(ProtocolError, match="its client has ended"):
            made.streams.closed.require_late(3, opens=False)

    def test_one_of_a_closed_stream_is_counted_as_well(self, control, call, made):
        control.take(f.RST_STREAM, 0, 1, number(f.CANCEL))
        assert (made.streams.by_number, made.intake.strikes) == ({3: call}, 1)


class TestSettings:
    def test_they_are_acknowledged_before_what_they_let_go(self, control, call, wire):
        call.window, call.waiting = 0, deque([(b"abc", False)])
        control.take(f.SETTINGS, 0, 0, settings(INITIAL_WINDOW_SIZE=f.FIRST_WINDOW + 3))
        assert wire.frames()[:2] == [ACKNOWLEDGED, (f.DATA, 0, 3, b"abc")]

    @pytest.mark.parametrize("value", [0, f.LARGEST_WINDOW])
    def test_a_window_is_that_of_new_streams(self, control, wire, made, value):
        control.take(f.SETTINGS, 0, 0, settings(INITIAL_WINDOW_SIZE=value))
        assert made.sender.initial == value
        assert wire.frames() == [ACKNOWLEDGED]

    def test_of_two_windows_the_last_counts(self, control, call, made):
        payload = settings(INITIAL_WINDOW_SIZE=f.LARGEST_WINDOW) + settings(INITIAL_WINDOW_SIZE=0)
        control.take(f.SETTINGS, 0, 0, payload)  # 100 more than the first would be too many
        assert (made.sender.initial, call.window) == (0, 100 - f.FIRST_WINDOW)

    @pytest.mark.parametrize("value", [2**14, 2**24 - 1])
    def test_the_size_of_frames(self, control, made, value):
        control.take(f.SETTINGS, 0, 0, settings(MAX_FRAME_SIZE=value))
        assert made.sender.max_frame == value

    @pytest.mark.parametrize("payload", [
        b"", settings(ENABLE_PUSH=0), settings(ENABLE_PUSH=1), settings(ENABLE_CONNECT_PROTOCOL=1),
        b"\xff\xff" + bytes(4),
    ])  # fmt: skip
    def test_others_change_nothing(self, control, wire, made, payload):
        before = (made.sender.initial, made.sender.max_frame)
        control.take(f.SETTINGS, 0, 0, payload)
        assert (made.sender.initial, made.sender.max_frame) == before
        assert wire.frames() == [ACKNOWLEDGED]

    @pytest.mark.parametrize("count", [0, 1, 50])
    def test_they_weigh_more_than_other_frames(self, control, made, count):
        control.take(f.SETTINGS, 0, 0, settings(ENABLE_PUSH=0) * count)
        assert made.intake.control == SETTINGS_WEIGHT + count + 1


class TestWindows:
    def test_room_on_the_connection_lets_what_waits_go(self, control, call, wire, made):
        call.waiting, made.sender.room = deque([(b"abc", False)]), 0
        made.sender.flush(call)
        control.take(f.WINDOW_UPDATE, 0, 0, number(2))
        assert wire.frames() == [(f.DATA, 0, 3, b"ab")]

    def test_room_on_the_stream_as_well(self, control, call, wire):
        call.window, call.waiting = 0, deque([(b"abc", False)])
        control.take(f.WINDOW_UPDATE, 0, 3, number(2))
        assert wire.frames() == [(f.DATA, 0, 3, b"ab")]

    @pytest.mark.parametrize("ident", [0, 3])
    def test_the_largest_window_is_allowed_and_no_more(self, control, call, wire, made, ident):
        has = made.sender.room if ident == 0 else call.window
        control.take(f.WINDOW_UPDATE, 0, ident, number(f.LARGEST_WINDOW - has))
        assert wire.frames() == []
        if ident == 0:
            with pytest.raises(ProtocolError) as ended:
                control.take(f.WINDOW_UPDATE, 0, 0, number(1))
            assert ended.value.code == f.FLOW_CONTROL_ERROR
        else:
            control.take(f.WINDOW_UPDATE, 0, 3, number(1))
            assert wire.frames() == [(f.RST_STREAM, 0, 3, number(f.FLOW_CONTROL_ERROR))]
            assert made.intake.strikes == 1

    def test_nothing_more_is_an_error_of_the_stream(self, control, call, wire, made):
        control.take(f.WINDOW_UPDATE, 0, 3, number(0))
        assert wire.frames() == [(f.RST_STREAM, 0, 3, number(f.PROTOCOL_ERROR))]
        assert (made.streams.by_number, made.intake.strikes) == ({}, 1)


@pytest.mark.parametrize("ident", [1, 3])
def test_a_malformed_priority_resets_a_stream_that_was_opened(control, call, wire, made, ident):
    control.take(f.PRIORITY, 0, ident, bytes(4))
    assert wire.frames() == [(f.RST_STREAM, 0, ident, number(f.FRAME_SIZE_ERROR))]
    assert made.intake.strikes == 1
