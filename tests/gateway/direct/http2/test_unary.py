"""From a whole ModelInfer message to its answer: charged, refused, kept waiting, written."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from serving.dataplane.context import NO_CONTEXT
from serving.errors import Forbidden, ModelNotReady, Overloaded
from serving.gateway.direct.connection import NEVER
from serving.gateway.direct.http2.call import Call
from serving.gateway.direct.http2.unary import UnaryCalls
from serving.gateway.direct.time_slices import CALL_UNITS
from serving.http2 import frames as f
from serving.protocol.pb.open_inference_pb2 import ModelInferRequest

BODY = b"\0" + (3).to_bytes(4, "big") + b"abc"
START = (f.HEADERS, f.END_HEADERS, 1)
END = (f.HEADERS, f.END_HEADERS | f.END_STREAM, 1, f.literal(b"grpc-status", b"0"))


class Ticket:
    """An admitted request that is answered when the test says so."""

    request, item = SimpleNamespace(id="q"), None

    def __init__(self):
        self.endpoint = self
        self.name, self.version = "m", "1"
        self.error = None
        self.cancelled = False

    def then(self, callback):
        self.answer = callback

    def finish(self, _ticket):
        if self.error:
            raise self.error
        return b"answer"

    def cancel(self):
        self.cancelled = True


class Backlog:
    """Lets calls wait if it is `full`."""

    def __init__(self):
        self.full, self.kept, self.asked = False, True, []

    def place(self, model, version, client, body):
        self.asked.append((model, version, client, body))
        return SimpleNamespace(kept=self.kept, cancel=lambda: None) if self.full else None

    def wait(self, waiter, owner, resume):
        self.owner, self.resume = owner, resume

    def refuse(self, _waiter):
        return ModelNotReady("waited in vain")


@pytest.fixture
def answering(made, wire):
    """The calls of a connection, of which number 1 is open, and what stands beside them."""
    made.ticket, made.read = Ticket(), []

    def begin(request, context):
        made.begun = (request, context)
        if made.refusal:
            raise made.refusal
        return made.ticket

    def read(payload):
        made.read.append(payload)
        return SimpleNamespace(model_name="m")

    made.refusal = made.denied = None
    state = made.state
    state.plane = SimpleNamespace(crowded=False, begin=begin)
    state.slices = SimpleNamespace(spent=0)
    state.backlog = Backlog()
    state.access = SimpleNamespace(decide=lambda *_: made.denied)
    state.grpc_requests = SimpleNamespace(read=read)
    state.grpc_responses = SimpleNamespace(write=lambda response, _request: response)
    head = SimpleNamespace(length=-1, grpc=True)
    made.call = Call(1, head, NO_CONTEXT, 100, NEVER)
    made.streams.by_number[1] = made.call
    made.streams.last = 1
    made.calls = UnaryCalls(state, wire, made.streams, made.sender)
    return made


def status(wire):
    """The gRPC status and message of an answer that is an error."""
    ((kind, flags, ident, block),) = wire.frames()
    assert (kind, flags & f.END_STREAM, ident) == (f.HEADERS, f.END_STREAM, 1)
    return block[block.index(b"grpc-status") :]


class TestCompleting:
    def test_an_answer_is_three_frames_and_nothing_is_left(self, answering, wire):
        answering.calls.complete(answering.call, BODY)
        assert answering.read == [b"abc"]
        assert answering.state.bodies.held == len(BODY)
        answering.ticket.answer()
        start, data, end = wire.frames()
        assert start[:3] == START
        assert data == (f.DATA, 0, 1, b"\0\0\0\0\x06answer")
        assert end == END
        assert answering.sender.room == f.FIRST_WINDOW - 11
        assert (answering.state.bodies.held, answering.streams.by_number) == (0, {})

    @pytest.mark.parametrize(("length", "good"), [(8, True), (7, False), (9, False), (0, False)])
    def test_a_content_length_must_be_true(self, answering, wire, length, good):
        answering.call.head.length = length
        answering.calls.complete(answering.call, BODY)
        assert answering.read == ([b"abc"] if good else [])
        assert wire.written == (b"" if good else f.reset(1, f.PROTOCOL_ERROR))

    def test_what_has_been_charged_is_not_charged_again(self, answering):
        answering.call.charged = answering.state.bodies.held = 50
        answering.calls.complete(answering.call, BODY)
        assert answering.state.bodies.held == 50

    @pytest.mark.parametrize(("left", "fits"), [(8, True), (7, False)])
    def test_one_without_room_is_refused_unread(self, answering, wire, left, fits):
        answering.state.bodies.held = held = answering.state.bodies.most - left
        answering.calls.complete(answering.call, BODY)
        assert answering.read == ([b"abc"] if fits else [])
        if not fits:
            assert status(wire).startswith(b"grpc-status\x0214")
            assert (answering.state.bodies.held, answering.streams.by_number) == (held, {})


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"", b"\x013"),
            (BODY[:-1], b"\x013"),
            (BODY + b"x", b"\x013"),
            (b"\1" + BODY[1:], b"\x013"),
            (b"\0\xff\xff\xff\xffabc", b"\x018"),
        ],
    )
    def test_what_is_not_one_plain_message(self, answering, wire, body, code):
        answering.calls.complete(answering.call, body)
        assert status(wire).startswith(b"grpc-status" + code)
        assert (answering.read, answering.state.bodies.held) == ([], 0)

    def test_who_may_not_ask_is_refused_before_it_is_queued(self, answering, wire):
        answering.denied = Forbidden("no")
        answering.calls.complete(answering.call, BODY)
        assert status(wire).startswith(b"grpc-status\x017")
        assert not hasattr(answering, "begun")

    @pytest.mark.parametrize(
        ("error", "told"),
        [(Overloaded("full"), b"full"), (RuntimeError("a secret"), b"internal error")],
    )
    @pytest.mark.parametrize("late", [False, True])
    def test_an_error_is_told_and_a_surprise_is_not(self, answering, wire, error, told, late):
        if late:
            answering.ticket.error = error
        else:
            answering.refusal = error
        answering.calls.complete(answering.call, BODY)
        if late:
            answering.ticket.answer()
        text = status(wire)
        assert told in text
        assert b"secret" not in text
        assert (answering.state.bodies.held, answering.streams.by_number) == (0, {})

    @pytest.mark.parametrize("error", [None, Overloaded("full")])
    def test_a_call_that_was_reset_in_the_same_turn_is_not_answered(self, answering, wire, error):
        answering.ticket.error = error
        answering.calls.complete(answering.call, BODY)
        answering.streams.reset(answering.call, f.CANCEL)
        assert answering.ticket.cancelled
        answering.ticket.answer()
        assert wire.written == f.reset(1, f.CANCEL)


class TestAnswers:
    @pytest.mark.parametrize(
        ("room", "window", "frame"), [(10, 99, 99), (99, 10, 99), (99, 99, 10)]
    )
    def test_one_that_does_not_fit_goes_as_far_as_there_is_room(
        self, answering, wire, room, window, frame
    ):
        answering.sender.room, answering.sender.max_frame = room, frame
        answering.call.window = window
        answering.calls.complete(answering.call, BODY)
        answering.ticket.answer()
        start, data, *rest = wire.frames()
        assert start[:3] == START
        assert data == (f.DATA, 0, 1, b"\0\0\0\0\x06answe")
        assert rest == ([(f.DATA, 0, 1, b"r"), END] if frame == 10 else [])
        assert answering.state.bodies.held == 0  # its request is not needed any more
        if rest:
            return
        answering.sender.room = answering.call.window = 1
        answering.streams.flush(answering.call)
        assert wire.frames() == [(f.DATA, 0, 1, b"r"), END]
        assert answering.streams.by_number == {}

    def test_one_that_fits_exactly_is_one_write(self, answering, wire):
        answering.sender.room = answering.call.window = answering.sender.max_frame = 11
        answering.calls.complete(answering.call, BODY)
        answering.ticket.answer()
        assert len(wire.frames()) == 3
        assert answering.sender.room == 0


class TestWaiting:
    @pytest.fixture
    def body(self, answering):
        answering.state.plane.crowded = answering.state.backlog.full = True
        message = ModelInferRequest(model_name="m", model_version="2").SerializeToString()
        return b"\0" + len(message).to_bytes(4, "big") + message

    def test_a_call_for_a_full_queue_waits_unread(self, answering, wire, body):
        answering.calls.complete(answering.call, body)
        backlog = answering.state.backlog
        assert backlog.asked == [("m", "2", "", body)]
        assert (answering.read, backlog.owner) == ([], wire)
        backlog.resume(True)
        assert answering.read == [body[5:]]
        assert answering.call.waiter is None
        assert answering.state.slices.spent == CALL_UNITS

    @pytest.mark.parametrize("kept", [True, False])
    def test_one_that_has_waited_in_vain_is_refused(self, answering, wire, body, kept):
        answering.state.backlog.kept = kept
        answering.calls.complete(answering.call, body)
        answering.state.backlog.resume(False)
        assert b"waited in vain" in status(wire)
        assert (answering.read, answering.streams.by_number) == ([], {})

    def test_with_room_or_without_a_model_it_is_read_at_once(self, answering, body):
        answering.state.backlog.full = False
        answering.calls.complete(answering.call, body)
        answering.state.backlog.full = True
        answering.calls.complete(answering.call, b"\0\0\0\0\1\xff")
        assert answering.read == [body[5:], b"\xff"]

    def test_a_queue_with_room_is_not_asked(self, answering, body):
        answering.state.plane.crowded = False
        answering.calls.complete(answering.call, body)
        assert answering.state.backlog.asked == []
