"""One HTTP connection without a socket: what it makes of bytes and of their end."""

from __future__ import annotations

import gzip

import pytest

from serving.remote.http import connection as connection_module
from serving.remote.http.connection import HttpConnection, HungUp, Unreadable

HEAD = b"HTTP/1.1 200 OK\r\n"


def answer(body=b"ab", *more):
    lines = [b"content-length: %d" % len(body), *more]
    return HEAD + b"\r\n".join(lines) + b"\r\n\r\n" + body


class Transport:
    def __init__(self):
        self.sent = []
        self.aborted = False

    def writelines(self, buffers):
        self.sent += buffers

    def abort(self):
        self.aborted = True


class Talk:
    """A connection, what it has sent, and what its callers were told."""

    def __init__(self):
        self.idle = []
        self.told = []
        self.connection = HttpConnection(self.idle.append)
        self.transport = Transport()

    def open(self):
        self.connection.connection_made(self.transport)
        return self

    def ask(self):
        self.connection.send([b"question"], self.told.append)
        return self

    def say(self, *pieces):
        for piece in pieces:
            self.connection.data_received(piece)
        return self

    def end(self, error=None):
        self.connection.connection_lost(error)
        return self

    @property
    def outcome(self):
        (outcome,) = self.told
        return outcome


@pytest.fixture
async def talk():
    return Talk().open()


async def test_it_is_ready_once_it_is_made():
    talk = Talk()
    assert not talk.connection.ready.done()
    assert talk.open().connection.ready.done()
    assert talk.transport.sent == []


async def test_a_request_before_or_after_the_connection_hangs_up():
    assert not Talk().ask().outcome.unseen
    talk = Talk().open().end().ask()
    assert isinstance(talk.outcome, HungUp)
    assert not talk.outcome.unseen
    used = Talk().open().ask().say(answer()).end()
    assert used.ask().told[-1].unseen


async def test_a_connection_is_used_again(talk):
    for body in (b"ab", b"", b"c"):
        talk.ask().say(answer(body))
        assert (talk.told[-1].status, talk.told[-1].body) == (200, body)
    assert len(talk.idle) == 3
    assert talk.transport.sent == [b"question"] * 3
    assert not talk.connection.closed


async def test_it_is_idle_before_its_caller_is_told(talk):
    talk.connection.send([], lambda _: talk.told.append(len(talk.idle)))
    talk.say(answer())
    assert talk.told == [1]


async def test_an_answer_may_come_byte_by_byte(talk):
    text = answer(b"abc", b"Inference-Header-Content-Length: 2")
    talk.ask().say(*[text[at : at + 1] for at in range(len(text))])
    assert (talk.outcome.body, talk.outcome.length) == (b"abc", "2")
    assert talk.ask().say(answer()).told[-1].length is None  # headers are of one answer


@pytest.mark.parametrize(
    "said",
    [
        answer(b"ab", b"connection: close"),
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nab",
    ],
)
async def test_a_server_may_want_no_further_request(talk, said):
    talk.ask().say(said)
    assert talk.outcome.body == b"ab"
    assert talk.idle == []
    assert talk.connection.closed
    assert talk.transport.aborted


async def test_a_body_may_last_as_long_as_the_connection(talk):
    talk.ask().say(HEAD + b"\r\n", b"a", b"b")
    assert talk.told == []
    assert talk.end().outcome.body == b"ab"
    assert talk.idle == []


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", None),
        (HEAD, None),
        (HEAD + b"content-length: 3\r\n\r\nab", None),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n", None),
        (HEAD + b"\r\nab", ConnectionResetError()),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
    ],
)
async def test_an_answer_that_is_lost(talk, said, error):
    talk.ask().say(*([said] if said else [])).end(error)
    assert isinstance(talk.outcome, HungUp)
    assert not talk.outcome.unseen
    assert str(talk.outcome) == "it hung up"


@pytest.mark.parametrize(("said", "unseen"), [(b"", True), (b"H", False)])
async def test_only_a_used_connection_ends_unseen(talk, said, unseen):
    talk.ask().say(answer()).ask()
    talk.say(*([said] if said else [])).end()
    assert talk.told[-1].unseen is unseen


@pytest.mark.parametrize("status", [b"100 Continue", b"103 Early Hints", b"199 Odd"])
async def test_announcements_come_before_the_answer(talk, status):
    early = b"HTTP/1.1 %b\r\nlink: a\r\ninference-header-content-length: 1\r\n\r\n" % status
    talk.ask().say(early + early, answer())
    assert (talk.outcome.status, talk.outcome.body) == (200, b"ab")
    assert talk.outcome.length is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"SSH-2.0-x\r\n", "it does not answer in HTTP: "),
        (HEAD + b"content-length: x\r\n\r\n", "it does not answer in HTTP: "),
        (HEAD + b"\0: a\r\n\r\n", "it does not answer in HTTP: "),
        (answer() + answer(), "it answered twice"),
        (answer() + b"HTTP/1.1 ", "it answered twice"),
        (answer(b"no gzip", b"content-encoding: gzip"), "its compressed answer is damaged"),
        (answer(b"ab", b"content-encoding: br"), "nobody asked for"),
    ],
)
async def test_what_is_no_answer(talk, said, why):
    talk.ask().say(said)
    assert isinstance(talk.outcome, Unreadable)
    assert why in str(talk.outcome)
    assert talk.connection.closed
    assert talk.idle == []
    assert len(talk.end().told) == 1


async def test_a_damaged_body_may_last_as_long_as_the_connection(talk):
    talk.ask().say(HEAD + b"content-encoding: gzip\r\n\r\nab").end()
    assert "damaged" in str(talk.outcome)


@pytest.mark.parametrize("encoding", [b"gzip", b"GZIP", b"identity"])
async def test_a_compressed_answer_is_unpacked(talk, encoding):
    body = b"ab" if encoding == b"identity" else gzip.compress(b"ab")
    talk.ask().say(answer(body, b"Content-Encoding: " + encoding))
    assert talk.outcome.body == b"ab"


async def test_nothing_needs_no_unpacking(talk):
    assert talk.ask().say(answer(b"", b"content-encoding: br")).outcome.body == b""


async def test_the_largest_answer(talk, monkeypatch):
    monkeypatch.setattr(connection_module, "MOST", 4)
    assert talk.ask().say(answer(b"four")).outcome.body == b"four"
    talk.ask().say(HEAD + b"\r\n", b"fou", b"rs")
    assert str(talk.told[-1]) == "its answer is over 4 bytes"
    assert talk.connection.closed


async def test_what_nobody_asked_for_closes_it(talk):
    talk.say(answer())
    assert talk.connection.closed
    assert talk.told == []


async def test_who_gives_up_is_not_told(talk):
    talk.ask().connection.abandon()
    assert talk.transport.aborted
    assert talk.end().told == []
    assert talk.connection.closed


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: Upgrade\r\n\r\n\0\1",
    ],
)
async def test_another_protocol_is_no_answer(talk, said):
    talk.ask().say(said)
    assert isinstance(talk.outcome, Unreadable)
    assert str(talk.outcome) == "it does not answer in HTTP: it switches to another protocol"
    assert talk.transport.aborted
