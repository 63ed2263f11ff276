"""The ends of streams: nothing is kept for one that has ended, and the last one's end is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from serving.dataplane.context import NO_CONTEXT
from serving.gateway.direct.connection import NEVER
from serving.gateway.direct.http2.call import Call
from serving.http2 import frames as f

HEAD = SimpleNamespace(grpc=True)


def opened(made, *idents, deadline=NEVER):
    """Open a call for each number; 10 bytes of its body have come."""
    calls = []
    for ident in idents:
        call = Call(ident, HEAD, NO_CONTEXT, 100, deadline)
        call.received = call.charged = 10
        made.intake.held += 10
        made.state.bodies.held += 10
        made.streams.by_number[ident] = call
        made.streams.last = ident
        calls.append(call)
    return calls


def test_a_stream_that_is_forgotten_gives_back_what_it_held(made):
    first, second = opened(made, 1, 3)
    made.streams.forget(first)
    assert (made.intake.held, made.state.bodies.held, made.told) == (10, 10, [])
    made.streams.forget(first)  # a second time there is nothing
    assert (made.intake.held, made.state.bodies.held) == (10, 10)
    made.streams.forget(second)
    assert (made.intake.held, made.state.bodies.held, made.told) == (0, 0, [True])


def test_frames_for_a_stream_that_was_reset_here_are_late_and_no_error(made, wire):
    (call,) = opened(made, 1)
    made.streams.reset(call, f.CANCEL)
    assert wire.written == f.reset(1, f.CANCEL)
    made.streams.closed.require_late(1, opens=False)
    made.streams.reset(call, f.CANCEL)  # it has ended
    assert wire.written == f.reset(1, f.CANCEL)


def test_a_number_is_reset_whether_or_not_it_is_open(made, wire):
    opened(made, 1)
    made.streams.reset_number(1, f.CANCEL)
    made.streams.reset_number(3, f.REFUSED_STREAM)
    assert wire.written == f.reset(1, f.CANCEL) + f.reset(3, f.REFUSED_STREAM)
    assert not made.streams.by_number


@pytest.mark.parametrize(("ident", "idle"), [(1, False), (3, False), (5, True), (2, True)])
def test_numbers_that_were_never_opened_are_idle(made, ident, idle):
    opened(made, 3)
    assert made.streams.is_idle(ident) == idle


def test_the_youngest_body_that_is_not_whole_is_shed(made, wire):
    _, second, third = opened(made, 1, 3, 5)
    third.complete = True
    made.streams.shed()
    assert list(made.streams.by_number) == [1, 5]
    assert wire.written == f.reset(second.ident, f.REFUSED_STREAM)


def test_a_sweep_resets_those_whose_bodies_are_late(made, wire):
    late, whole = opened(made, 1, 3, deadline=5.0)
    whole.complete = True
    made.streams.prolong(1.0)
    made.streams.sweep(5.5)
    assert wire.written == b""
    made.streams.sweep(6.5)
    assert wire.written == f.reset(late.ident, f.CANCEL)
    whole.stuck = 6.0
    made.streams.sweep(6.5)
    assert not made.streams.by_number


def test_a_new_window_counts_for_streams_that_are_open(made):
    (call,) = opened(made, 1)
    made.streams.set_window(f.FIRST_WINDOW + 7)
    assert call.window == 107
    made.streams.set_window(f.FIRST_WINDOW - 1_000)
    assert call.window < 0
    call.window = f.LARGEST_WINDOW
    with pytest.raises(f.ProtocolError) as ended:
        made.streams.set_window(f.LARGEST_WINDOW)
    assert ended.value.code == f.FLOW_CONTROL_ERROR


@pytest.mark.parametrize(
    ("room", "stalls", "flushed"),
    [(0, False, []), (1, False, [1]), (2, False, [1, 3]), (9, False, [1, 3, 5]), (9, True, [1])],
)
def test_what_waits_for_room_is_written_until_there_is_none(made, room, stalls, flushed):
    calls = opened(made, 1, 3, 5)
    told = []

    def flush(stream):
        told.append(stream.ident)
        sender.room -= 1
        sender.stalled = stalls
        return stream.ident == 3  # its answer is whole

    blocked = {call.ident: call for call in calls}
    sender = SimpleNamespace(blocked=blocked, room=room, stalled=False, flush=flush)
    made.streams._sender = sender
    made.streams.flush_blocked()
    assert told == flushed
    assert (3 in made.streams.by_number) == (3 not in flushed)


def test_once_the_connection_is_lost_nobody_is_told_and_nothing_is_held(made):
    opened(made, 1, 3)
    made.streams.lost()
    assert (made.state.bodies.held, made.told) == (0, [])
    assert not made.streams.by_number
