"""Answers go out as far as the client has made room: on stream and connection, and in a frame."""

from __future__ import annotations

from collections import deque

import pytest

from serving.dataplane.context import NO_CONTEXT
from serving.errors import Forbidden
from serving.gateway.direct.clock import Clock
from serving.gateway.direct.connection import NEVER
from serving.gateway.direct.http2.call import Call
from serving.gateway.direct.http2.sender import Sender
from serving.gateway.direct.limits import Limits
from serving.gateway.http.replies import sentence_reply
from serving.http2 import frames as f

TRAILERS = b"the trailers"


@pytest.fixture
def sender(wire):
    return Sender(wire, Clock(Limits()))


def answering(size, window=1 << 20):
    """A call whose answer of `size` bytes waits."""
    call = Call(1, None, NO_CONTEXT, window, NEVER)
    call.trailers = TRAILERS
    call.waiting = deque([(memoryview(b"x" * size), False)])
    return call


def data_sizes(written):
    """The lengths of the DATA frames, and what came behind the last."""
    sizes, at = [], 0
    while not written.startswith(TRAILERS, at) and at < len(written):
        high, low, kind, _, ident = f.read_head(written, at)
        assert (kind, ident) == (f.DATA, 1)
        sizes.append(high << 8 | low)
        at += 9 + sizes[-1]
    return sizes, written[at:]


def test_a_whole_answer_ends_with_its_trailers(sender, wire):
    assert sender.flush(answering(3))
    assert data_sizes(wire.written) == ([3], TRAILERS)
    assert sender.room == f.FIRST_WINDOW - 3


def test_no_frame_is_larger_than_the_client_takes(sender, wire):
    assert sender.flush(answering(f.SMALLEST_FRAME + 5))
    assert data_sizes(wire.written) == ([f.SMALLEST_FRAME, 5], TRAILERS)


def test_without_room_on_the_connection_a_stream_waits_among_the_blocked(sender, wire):
    sender.room = 2
    call = answering(5)
    assert not sender.flush(call)
    assert data_sizes(wire.written) == ([2], b"")
    assert sender.blocked == {1: call}
    assert call.stuck != NEVER
    sender.room = 10
    assert sender.flush(call)
    assert data_sizes(wire.written) == ([2, 3], TRAILERS)
    assert (sender.blocked, call.stuck) == ({}, NEVER)


def test_without_room_of_its_own_a_stream_waits_for_its_own_window(sender, wire):
    call = answering(5, window=2)
    assert not sender.flush(call)
    assert data_sizes(wire.written) == ([2], b"")
    assert sender.blocked == {}
    call.window = 3
    assert sender.flush(call)


def test_a_client_that_reads_nothing_is_sent_nothing(sender, wire):
    sender.stalled = True
    call = answering(5)
    assert not sender.flush(call)
    assert wire.written == b""
    assert sender.blocked == {1: call}


def test_nothing_is_written_once_it_is_closing(sender, wire):
    sender.closing = True
    sender.write(b"late")
    assert wire.written == b""


def test_an_error_without_room_for_its_body_is_its_status_alone(sender, wire):
    sender.fail_http(1, 3, sentence_reply(400, "what to change"))
    high, low, kind, flags, _ = f.read_head(wire.written, 0)
    assert (kind, flags & f.END_STREAM) == (f.HEADERS, f.END_STREAM)
    assert len(wire.written) == 9 + (high << 8 | low)


def test_an_error_with_room_has_its_body(sender, wire):
    reply = sentence_reply(400, "what to change")
    sender.fail_http(1, 100, reply)
    data = f.frame(f.DATA, f.END_STREAM, 1, reply.body)
    assert wire.written.endswith(data)
    assert f.read_head(wire.written, 0)[3] & f.END_STREAM == 0
    assert sender.room == f.FIRST_WINDOW - len(reply.body)


def test_a_call_that_failed_ends_with_headers_alone(sender, wire):
    sender.fail_grpc(1, Forbidden("no"))
    high, low, kind, flags, ident = f.read_head(wire.written, 0)
    assert (kind, flags & f.END_STREAM, ident) == (f.HEADERS, f.END_STREAM, 1)
    assert len(wire.written) == 9 + (high << 8 | low)
    assert f.literal(b"grpc-status", b"7") in wire.written
    assert f.literal(b"grpc-message", b"no") in wire.written


def test_a_header_block_is_cut_into_frames(sender, wire):
    block = b"x" * (sender.max_frame + 1)
    sender.write_block(1, f.END_STREAM, block)
    assert wire.written == f.headers(f.END_STREAM, 1, block, sender.max_frame)
