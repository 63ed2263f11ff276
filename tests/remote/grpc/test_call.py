"""One gRPC call without a connection: what it gives to be sent, and what it makes of pieces."""

from __future__ import annotations

import gzip

import pytest

from serving.remote.grpc import call as call_module
from serving.remote.grpc.call import GrpcCall, Lost
from serving.remote.grpc.heads import AnswerHead, Refused

OK = AnswerHead()
DONE = AnswerHead(status=0)


class Timer:
    cancelled = 0

    def cancel(self):
        self.cancelled += 1


class Connection:
    def __init__(self):
        self.abandoned = []

    def abandon(self, call):
        self.abandoned.append(call)


@pytest.fixture
def outcomes():
    return []


@pytest.fixture
def call(outcomes):
    made = GrpcCall(b"block", b"question", outcomes.append)
    made.timer, made.connection = Timer(), Connection()
    return made


def message(body, flag=0):
    return bytes([flag]) + len(body).to_bytes(4, "big") + body


def answered(call, *pieces, head=OK, end=DONE):
    assert call.headers(head, end=False) is None
    for piece in pieces:
        call.data(piece)
    return call.headers(end, end=True)


def refusal(ask):
    with pytest.raises(Refused) as told:
        ask()
    return told.value.code, told.value.details


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 12, 13])
def test_what_is_sent_is_the_same_in_any_pieces(call, size):
    assert call.left == 13
    sent = []
    while call.left:
        taken = call.take(min(size, call.left))
        sent.append(b"".join(taken))
    assert {len(piece) for piece in sent[:-1]} <= {size}
    assert b"".join(sent) == message(b"question")


def test_a_whole_message_is_not_copied():
    large = b"q" * 100_000
    call = GrpcCall(b"", large, print)
    assert call.take(call.left)[1] is large
    call.rewind()
    head, first = call.take(50_000)
    (second,) = call.take(call.left)
    assert first.obj is large
    assert second.obj is large
    assert head + bytes(first) + bytes(second) == message(large)


def test_an_empty_message_is_its_prefix():
    call = GrpcCall(b"", b"", print)
    assert call.left == 5
    assert b"".join(call.take(5)) == bytes(5)


def test_what_is_sent_again_begins_again(call):
    call.ident, call.window = 3, 9
    call.take(7)
    call.headers(AnswerHead(encoding="gzip"), end=False)
    call.data(b"\1\0\0")
    call.rewind()
    assert (call.ident, call.window, call.left) == (0, 0, 13)
    assert b"".join(call.take(13)) == message(b"question")
    assert answered(call, message(b"answer")) == b"answer"


def test_only_the_first_end_counts(call, outcomes):
    call.settle(b"first")
    call.settle(Lost())
    call.cancel()
    assert outcomes == [b"first"]
    assert call.done
    assert call.timer.cancelled == 1
    assert call.connection.abandoned == []


def test_who_gives_up_is_not_told(call, outcomes):
    call.cancel()
    call.cancel()
    call.settle(b"late")
    assert outcomes == []
    assert call.timer.cancelled == 1
    assert call.connection.abandoned == [call]


def test_a_call_without_timer_and_connection_can_end(outcomes):
    GrpcCall(b"", b"", outcomes.append).cancel()
    GrpcCall(b"", b"", outcomes.append).settle(b"a")
    assert outcomes == [b"a"]


@pytest.mark.parametrize("size", [1, 2, 4, 5, 6, 100])
@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_an_answer_may_come_in_any_pieces(call, size, kind):
    text = message(b"an answer")
    pieces = [kind(text[at : at + size]) for at in range(0, len(text), size)]
    got = answered(call, kind(b""), *pieces, kind(b""))
    assert got == b"an answer"
    assert type(got) is bytes


def test_an_answer_may_be_empty(call):
    assert answered(call, message(b"")) == b""


def test_announcements_are_no_headers(call):
    for _ in range(3):
        assert call.headers(AnswerHead(information=True), end=False) is None
    assert answered(call, message(b"a")) == b"a"


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ([], "before the message was whole"),
        ([b"\0\0"], "before the message was whole"),
        ([b"\0\0\0\0\5four"], "before the message was whole"),
        ([message(b"a") + b"b"], "more than one message"),
        ([message(b"a"), message(b"b")], "more than one message"),
        ([message(b""), b"\0"], "more than one message"),
        ([message(b"no gzip", 1)], "damaged|nobody asked for"),
    ],
)
def test_what_is_not_one_message(call, pieces, why):
    with pytest.raises(Refused, match=why) as told:
        answered(call, *pieces)
    assert told.value.code == "INTERNAL"


def test_the_largest_answer(call, monkeypatch):
    monkeypatch.setattr(call_module, "MOST", 4)
    assert answered(call, message(b"four")) == b"four"
    call.rewind()
    call.headers(OK, end=False)
    said = refusal(lambda: call.data(b"\0\0\0\0\5"))
    assert said == ("INTERNAL", "its answer of 5 bytes is over 4")


def test_headers_twice(call):
    call.headers(OK, end=False)
    assert refusal(lambda: call.headers(OK, end=False)) == ("INTERNAL", "it sent headers twice")


@pytest.mark.parametrize(
    ("head", "end", "told"),
    [
        (AnswerHead(status=5, details="gone"), True, ("NOT_FOUND", "gone")),
        (AnswerHead(status=99, details="odd"), True, ("UNKNOWN", "odd")),
        (AnswerHead(status=-1), True, ("UNKNOWN", "it ended the call without a status")),
        (AnswerHead(information=True), True, ("UNKNOWN", "it ended the call without a status")),
        (AnswerHead(refused="UNAVAILABLE", details="502"), False, ("UNAVAILABLE", "502")),
        (AnswerHead(refused="UNAVAILABLE", details="502"), True, ("UNAVAILABLE", "502")),
    ],
)
def test_how_a_call_is_refused(call, head, end, told):
    assert refusal(lambda: call.headers(head, end=end)) == told


def test_a_status_counts_more_than_the_message(call):
    with pytest.raises(Refused, match="late"):
        answered(call, message(b"a"), end=AnswerHead(status=4, details="late"))


def test_only_what_is_marked_as_compressed_is_unpacked(call):
    packed = gzip.compress(b"answer")
    assert answered(call, message(packed, 1), head=AnswerHead(encoding="gzip")) == b"answer"
    call.rewind()
    assert answered(call, message(packed), head=AnswerHead(encoding="gzip")) == packed
    call.rewind()
    with pytest.raises(Refused, match="nobody asked for"):
        answered(call, message(packed, 1), head=AnswerHead(encoding="zstd"))
