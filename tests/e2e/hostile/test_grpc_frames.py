"""gRPC calls by hand-written HTTP/2 frames: broken, unfinished, by the thousand, and reset."""

import time
from types import ModuleType
from typing import Any

import grpc
import pytest

pytestmark = pytest.mark.e2e

SERVICE = "/inference.GRPCInferenceService/"
LIVE = SERVICE + "ServerLive"
INFER = SERVICE + "ModelInfer"
STREAM = SERVICE + "ModelStreamInfer"
MAX_BODY = 16 << 20
UNIMPLEMENTED, INVALID, EXHAUSTED = 12, 3, 8


@pytest.fixture
def h2(wire: ModuleType, target: Any) -> Any:
    with wire.H2(target.instance.grpc_port) as connection:
        yield connection


def fails(target: Any, stream: Any, *codes: int) -> None:
    """A gRPC status, the right one: never silence, nor an end without a word."""
    assert stream.finished
    assert stream.grpc_status != 0
    assert len(stream.headers.get("grpc-message", "")) < 1000
    if target.differs("own-codes"):
        return
    assert stream.grpc_status is not None, stream
    assert not codes or stream.grpc_status in codes, stream


def works(wire: ModuleType, h2: Any, stream: int) -> None:
    """The same connection still answers."""
    h2.grpc(stream, LIVE, wire.prefixed(b""))
    (answer,) = h2.wait(stream)
    assert answer.grpc_status == 0, answer


PATHS = {
    "no-slash": "inference.GRPCInferenceService.ModelInfer",
    "name-only": "ModelInfer",
    "empty": "",
    "slash": "/",
    "asterisk": "*",
    "no-method": SERVICE,
    "unknown-method": SERVICE + "NoSuchMethod",
    "unknown-service": "/no.such.Service/ModelInfer",
    "too-many": INFER + "/more",
    "parent": SERVICE + "../ModelInfer/x",
    "escaped": SERVICE + "%4eoSuchMethod",
    "not-utf-8": SERVICE + "%ff",
    "query": INFER + "X?a=b",
    "absolute": "http://evil.example" + INFER + "X",
    "blank": SERVICE + "Model Infer",
    "10-kB": SERVICE + "x" * 10_000,
}


NO_PATHS = {"no-slash", "name-only", "empty", "asterisk", "absolute", "blank"}


@pytest.mark.parametrize("case", PATHS)
def test_paths(wire: ModuleType, target: Any, h2: Any, case: str) -> None:
    h2.grpc(1, PATHS[case], wire.prefixed(b""))
    (stream,) = h2.wait(1)
    if h2.closed:  # a path that HTTP/2 forbids is an error of the whole connection
        return
    if case in NO_PATHS and stream.grpc_status is None:
        assert stream.finished  # reset, which is what HTTP/2 asks for
    else:
        fails(target, stream)
    if not h2.goaway:
        works(wire, h2, 3)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        (":method", "GET"),
        (":method", "CONNECT"),
        (":method", "QUATSCH"),
        (":scheme", "gopher"),
        (":authority", ""),
        ("content-type", "application/grpc+json"),
        ("content-type", "application/grpc-web"),
        ("te", "gzip"),
    ],
)
def test_unusual_headers(wire: ModuleType, target: Any, h2: Any, change: str, value: str) -> None:
    pairs = [(name, value if name == change else old) for name, old in wire.grpc_headers(LIVE)]
    h2.headers(1, pairs)
    h2.frame(wire.DATA, wire.END_STREAM, 1, wire.prefixed(b""))
    (stream,) = h2.wait(1)
    assert h2.closed or stream.finished


FORBIDDEN = {
    "upper-case": [("X-Evil", "a")],
    "newline": [("x-evil", "a\nb")],
    "nul": [("x-evil", "a\0b")],
    "connection": [("connection", "close")],
    "transfer-encoding": [("transfer-encoding", "chunked")],
    "two-lengths": [("content-length", "5"), ("content-length", "6")],
    "wrong-length": [("content-length", "1000")],
    "pseudo-header-late": [(":path", "/evil")],
    "unknown-pseudo-header": [(":evil", "a")],
}


@pytest.mark.parametrize("case", FORBIDDEN)
def test_forbidden_headers(wire: ModuleType, target: Any, h2: Any, case: str) -> None:
    h2.headers(1, [*wire.grpc_headers(LIVE), *FORBIDDEN[case]])
    h2.frame(wire.DATA, wire.END_STREAM, 1, wire.prefixed(b""))
    (stream,) = h2.wait(1)
    assert h2.closed or stream.finished


def test_no_message(wire: ModuleType, target: Any, h2: Any) -> None:
    h2.headers(1, wire.grpc_headers(INFER), end=True)
    h2.grpc(3, INFER, b"")
    if target.differs("unfinished-calls"):
        works(wire, h2, 5)
        return
    for stream in h2.wait(1, 3):
        fails(target, stream, INVALID)
    works(wire, h2, 5)


BROKEN = {
    "prefix-cut": (b"\0\0\0", INVALID),
    "message-cut": (b"\0\0\0\0\x10abc", INVALID),
    "two-messages": (b"\0\0\0\0\0" * 2, INVALID),
    "something-behind": (b"\0\0\0\0\0abc", INVALID),
    "size-over-the-limit": (b"\0\xff\xff\xff\xffabc", EXHAUSTED),
    "size-just-over-the-limit": (b"\0" + (MAX_BODY + 1).to_bytes(4, "big") + b"abc", EXHAUSTED),
    "compressed-without-encoding": (b"\1\0\0\0\x03abc", INVALID),
    "compressed-empty": (b"\1\0\0\0\0", INVALID),
    "flag-2": (b"\2\0\0\0\0", INVALID),
    "flag-255": (b"\xff\0\0\0\0", INVALID),
    "no-protobuf": (b"\0\0\0\0\x03\xff\xff\xff", INVALID),
}


# Where `unfinished-calls` and `forgiven-calls` differ.
UNFINISHED = {"prefix-cut", "message-cut", "size-just-over-the-limit"}
FORGIVEN = {"two-messages", "something-behind", "flag-2", "flag-255"}


@pytest.mark.parametrize(
    ("case", "method"),
    [
        pytest.param(case, method, id=f"{case}-{method}")
        for case in BROKEN
        for method in ("ModelInfer", "ModelStreamInfer", "ServerMetadata")
        # A stream may carry several messages.
        if method != "ModelStreamInfer" or case not in ("two-messages", "something-behind")
    ],
)
def test_broken_messages(wire: ModuleType, target: Any, h2: Any, case: str, method: str) -> None:
    body, code = BROKEN[case]
    h2.grpc(1, SERVICE + method, body)
    if case in UNFINISHED and method != "ModelStreamInfer" and target.differs("unfinished-calls"):
        works(wire, h2, 3)
        return
    (stream,) = h2.wait(1)
    if not (case in FORGIVEN and method == "ServerMetadata" and target.differs("forgiven-calls")):
        fails(target, stream, code)
    works(wire, h2, 3)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "snappy", "identity", "x" * 1000, ""])
def test_compressed_messages_that_are_not(
    wire: ModuleType, target: Any, h2: Any, encoding: str
) -> None:
    pairs = [*wire.grpc_headers(INFER), ("grpc-encoding", encoding)]
    h2.headers(1, pairs)
    h2.frame(wire.DATA, wire.END_STREAM, 1, wire.prefixed(b"not packed", 1))
    (stream,) = h2.wait(1)
    fails(target, stream, INVALID, UNIMPLEMENTED)
    works(wire, h2, 3)


def test_a_message_in_one_byte_frames(wire: ModuleType, target: Any, h2: Any) -> None:
    message = wire.prefixed(target.message([1, 2, 3, 4]).SerializeToString())
    h2.headers(1, wire.grpc_headers(INFER))
    for byte in message:
        h2.frame(wire.DATA, 0, 1, bytes((byte,)))
    h2.frame(wire.DATA, wire.END_STREAM, 1)
    (stream,) = h2.wait(1)
    assert stream.grpc_status == 0, stream


def test_half_closed_and_open_streams_hold_up_nobody(
    wire: ModuleType, target: Any, h2: Any
) -> None:
    message = wire.prefixed(target.message([1, 2, 3, 4]).SerializeToString())
    for number in range(100):
        h2.headers(4 * number + 1, wire.grpc_headers(INFER))  # no message, no end
        h2.grpc(4 * number + 3, INFER, message[: number + 1], end=False)  # half a message
    h2.flush()
    assert h2.alive()
    target.still_right()
    works(wire, h2, 1001)
    h2.frame(wire.DATA, wire.END_STREAM, 1, message)  # one of them goes on after all
    (first,) = h2.wait(1)
    assert first.grpc_status == 0


def test_a_stream_whose_client_never_ends_it(wire: ModuleType, target: Any, h2: Any) -> None:
    if target.differs("streams"):
        h2.grpc(1, STREAM, wire.prefixed(b""), end=False)
        assert h2.wait(1)[0].grpc_status == UNIMPLEMENTED
        works(wire, h2, 3)
        return
    h2.headers(1, wire.grpc_headers(STREAM))
    message = wire.prefixed(target.message([1, 2, 3, 4]).SerializeToString())
    h2.frame(wire.DATA, 0, 1, message * 3 + message[:7])
    h2.flush()
    while len(h2.streams[1].data) < 3 * 40 and not h2.closed:
        h2.read()
    works(wire, h2, 3)
    h2.frame(wire.RST, 0, 1, (8).to_bytes(4, "big"))
    works(wire, h2, 5)


@pytest.mark.not_on("serve", reason="its proxy is not asked to pass streams from clients on")
def test_a_broken_message_behind_good_ones(wire: ModuleType, target: Any, h2: Any) -> None:
    """Those are answered before the stream ends."""
    good = wire.prefixed(target.message([1, 2, 3, 4]).SerializeToString())
    h2.grpc(1, STREAM, good * 20 + wire.prefixed(b"\xff\xff\xff"), end=False)
    (stream,) = h2.wait(1)
    fails(target, stream, INVALID)
    answers, rest = [], stream.data
    while rest:
        end = 5 + int.from_bytes(rest[1:5], "big")
        answers.append(rest[5:end])
        rest = rest[end:]
    assert len(answers) == 20
    works(wire, h2, 3)


def test_ten_thousand_calls_on_one_connection(wire: ModuleType, target: Any, h2: Any) -> None:
    answered = 0
    calls = 500 if target.differs("few-calls") else 10_000
    for start in range(0, calls, 100):
        numbers = [2 * (start + offset) + 1 for offset in range(100)]
        for number in numbers:
            h2.grpc(number, LIVE, wire.prefixed(b""))
        answered += sum(stream.grpc_status == 0 for stream in h2.wait(*numbers))
        for number in numbers:
            del h2.streams[number]
    assert answered == calls


def test_ten_thousand_calls_at_once(wire: ModuleType, target: Any, h2: Any) -> None:
    """More than may be open: those above the limit are refused, the others answered."""
    calls = 1000 if target.differs("few-calls") else 10_000
    numbers = [2 * number + 1 for number in range(calls)]
    for number in numbers:
        h2.grpc(number, LIVE, wire.prefixed(b""))
        if number % 400 == 1:
            h2.flush()
    streams = h2.wait(*numbers)
    if not h2.closed:
        assert all(stream.grpc_status == 0 or stream.reset for stream in streams)


def right_again(target: Any) -> None:
    """At once, or where resets take others with them, as soon as those are worked off."""
    deadline = time.monotonic() + (60 if target.differs("cancelled-beside") else 0)
    while True:
        try:
            target.still_right()
        except grpc.RpcError as error:
            cancelled = error.code() is grpc.StatusCode.CANCELLED
            if not cancelled or time.monotonic() > deadline:
                raise
        else:
            return


def test_rapid_reset(wire: ModuleType, target: Any) -> None:
    for _ in range(3):
        with wire.H2(target.instance.grpc_port) as h2:
            for number in range(1, 6000, 2):
                h2.headers(number, wire.grpc_headers(INFER))
                h2.frame(wire.RST, 0, number, (8).to_bytes(4, "big"))
                if number % 100 == 1:
                    h2.flush()
            h2.flush()
            right_again(target)
            if target.differs("floods"):
                while not h2.closed:
                    h2.read()


def test_reset_after_the_message(wire: ModuleType, target: Any) -> None:
    message = wire.prefixed(target.message([1, 2, 3, 4]).SerializeToString())
    with wire.H2(target.instance.grpc_port) as h2:
        for number in range(1, 400, 2):
            h2.grpc(number, INFER, message)
            h2.frame(wire.RST, 0, number, (8).to_bytes(4, "big"))
        h2.flush()
        right_again(target)


FRAMES = {
    "data-on-stream-0": (0, 0, 0, b"abc"),
    "data-on-a-stream-not-open": (0, 0, 7, b"abc"),
    "headers-on-stream-0": (1, 4, 0, b"\x82"),
    "headers-on-an-even-stream": (1, 5, 2, b"\x82"),
    "headers-with-broken-hpack": (1, 5, 1, b"\xff\xff\xff\xff\xff\xff"),
    "headers-index-0": (1, 5, 1, b"\x80"),
    "settings-of-7-bytes": (4, 0, 0, b"1234567"),
    "settings-with-a-stream": (4, 0, 1, b""),
    "settings-frame-size-0": (4, 0, 0, b"\0\x05\0\0\0\0"),
    "window-of-0": (8, 0, 0, b"\0\0\0\0"),
    "window-overflow": (8, 0, 0, b"\x7f\xff\xff\xff"),
    "ping-of-7-bytes": (6, 0, 0, b"1234567"),
    "push-promise": (5, 4, 1, b"\0\0\0\x02\x82"),
    "continuation-alone": (9, 4, 1, b"\x82"),
    "goaway": (7, 0, 0, b"\0\0\0\0\0\0\0\0"),
    "unknown-frame": (200, 255, 1, b"abc"),
    "16-MB-frame": (0, 0, 1, b"a" * (2**24 - 1)),
}


@pytest.mark.parametrize("case", FRAMES)
def test_frames_that_are_wrong(wire: ModuleType, target: Any, h2: Any, case: str) -> None:
    kind, flags, stream, payload = FRAMES[case]
    h2.frame(kind, flags, stream, payload)
    h2.flush()
    if case == "goaway":  # whoever says goodbye need not be answered
        return
    if h2.alive() and not h2.goaway:
        works(wire, h2, 11)


def test_endless_continuations(wire: ModuleType, target: Any, h2: Any) -> None:
    before = target.gateway_rss()
    h2.frame(wire.HEADERS, 0, 1, b"\x82\x86\x84")
    for count in range(20_000):
        h2.frame(9, 0, 1, b"\x00\x01a\x64" + b"b" * 100)
        if count % 100 == 0:
            h2.flush()
    assert not h2.alive()
    assert target.gateway_rss() - before < 50 << 20


@pytest.mark.parametrize("kind", ["ping", "settings", "window", "empty-data", "priority"])
def test_floods_of_small_frames(wire: ModuleType, target: Any, h2: Any, kind: str) -> None:
    before = target.gateway_rss()
    frames = {
        "ping": (wire.PING, 0, 0, b"12345678"),
        "settings": (wire.SETTINGS, 0, 0, b""),
        "window": (wire.WINDOW, 0, 0, b"\0\0\0\x01"),
        "empty-data": (wire.DATA, 0, 1, b""),
        "priority": (2, 0, 1, b"\0\0\0\0\x10"),
    }
    h2.headers(1, wire.grpc_headers(INFER))
    for count in range(20_000):
        h2.frame(*frames[kind])
        if count % 500 == 0:
            h2.flush()
    h2.flush()
    target.still_right()
    assert target.gateway_rss() - before < 50 << 20


def test_a_client_that_reads_nothing(wire: ModuleType, target: Any, h2: Any) -> None:
    """No window for answers: they wait for it, and nobody else does."""
    h2.frame(wire.SETTINGS, 0, 0, b"\0\x04\0\0\0\0")  # initial window of every stream: 0
    message = wire.prefixed(target.message([1, 2, 3, 4]).SerializeToString())
    for number in range(1, 200, 2):
        h2.grpc(number, INFER, message)
    h2.flush()
    target.still_right()
