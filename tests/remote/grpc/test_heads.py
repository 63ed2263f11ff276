"""What stands around the message of a unary call: the headers sent, and those that come back."""

from __future__ import annotations

import grpc
import pytest

from serving.http2 import frames as f
from serving.http2.hpack import Decoder
from serving.remote.grpc.heads import (
    STATUSES,
    AnswerHead,
    answer_head,
    refused_by,
    refused_by_reset,
    request_block,
    timeout_value,
)

OK = (b":status", b"200")


def test_statuses_stand_in_the_order_of_their_numbers():
    assert [code.name for code in sorted(grpc.StatusCode, key=lambda code: code.value[0])] == [
        *STATUSES
    ]


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        (0, b"1u"),
        (-1, b"1u"),
        (1e-9, b"1u"),
        (0.0000011, b"2u"),
        (1, b"1000000u"),
        (99.999999, b"99999999u"),
        (100, b"100000m"),
        (99_999.9991, b"100000S"),
        (99_999_999, b"99999999S"),
        (100_000_000, b"1666667M"),
        (6e9, b"1666667H"),
        (1e18, b"99999999H"),
    ],
)
def test_a_timeout_has_eight_digits_at_most_and_is_rounded_up(seconds, value):
    assert timeout_value(seconds) == value


@pytest.mark.parametrize(("tls", "scheme"), [(False, b"http"), (True, b"https")])
def test_the_headers_of_a_call(tls, scheme):
    block = request_block("/s/M", "h:1", 2, {"authorization": "Bearer ü", "x-api-key": ""}, tls=tls)
    decoder = Decoder(1 << 16)
    fields = decoder.decode(block)
    assert fields == [
        (b":method", b"POST"),
        (b":scheme", scheme),
        (b":path", b"/s/M"),
        (b":authority", b"h:1"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"vigil"),
        (b"grpc-accept-encoding", b"identity"),
        (b"grpc-timeout", b"2000000u"),
        (b"authorization", "Bearer ü".encode()),
        (b"x-api-key", b""),
    ]
    assert decoder.decode(block) == fields  # it changes no table, so it may be sent again


def test_secrets_are_never_indexed_and_the_rest_is_only_not_indexed_here():
    """RFC 7541, section 6.2.3: `0001` says so to proxies as well."""
    bare = request_block("/s/M", "h:1", 2, {}, tls=True)
    block = request_block("/s/M", "h:1", 2, {"k": "secret"}, tls=True)
    assert block == bare + b"\x10" + f.literal(b"k", b"secret")[1:]
    assert bare[2:].startswith(f.literal(b":path", b"/s/M"))


@pytest.mark.parametrize("http", [b"100", b"103", b"199"])
def test_an_announcement_says_nothing_of_the_answer(http):
    assert answer_head([(b":status", http), (b"grpc-status", b"5")]) == AnswerHead(information=True)


@pytest.mark.parametrize(
    ("http", "code"),
    [
        ("400", "INTERNAL"),
        ("401", "UNAUTHENTICATED"),
        ("403", "PERMISSION_DENIED"),
        ("404", "UNIMPLEMENTED"),
        ("429", "UNAVAILABLE"),
        ("502", "UNAVAILABLE"),
        ("503", "UNAVAILABLE"),
        ("504", "UNAVAILABLE"),
        ("500", "UNKNOWN"),
        ("204", "UNKNOWN"),
        ("1000", "UNKNOWN"),
        ("", "UNKNOWN"),
        ("2" * 16, "UNKNOWN"),
    ],
)
def test_the_status_of_a_proxy_that_knows_no_grpc(http, code):
    head = answer_head([(b":status", http.encode()), (b"grpc-encoding", b"gzip")])
    assert head == AnswerHead(refused=code, details=f"it answered with HTTP status {http}")


def test_a_long_http_status_is_shown_in_part_and_any_bytes_can_be_shown():
    head = answer_head([(b":status", b"\xff" * 100)])
    assert head.details == "it answered with HTTP status " + "ÿ" * 16


@pytest.mark.parametrize("fields", [[OK], []])
def test_headers_that_begin_an_answer(fields):
    assert answer_head(fields) == AnswerHead()
    assert answer_head([*fields, (b"grpc-encoding", b"gzip")]) == AnswerHead(encoding="gzip")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"0", 0),
        (b"16", 16),
        (b"005", 5),
        (b"99999999", 99_999_999),
        (b"999999999", 2),
        (b"9" * 10_000, 2),
        (b"", 2),
        (b"-1", 2),
        (b"+1", 2),
        (b"1.0", 2),
        (b" 5", 2),
        ("²".encode(), 2),
    ],
)
def test_what_is_no_number_of_a_status_is_unknown(text, status):
    assert answer_head([(b"grpc-status", text)]).status == status


@pytest.mark.parametrize("http", [b"200", b"503"])
def test_a_grpc_status_counts_more_than_that_of_http(http):
    fields = [(b":status", http), (b"grpc-status", b"5"), (b"grpc-encoding", b"br")]
    assert answer_head(fields) == AnswerHead(status=5, encoding="br")


@pytest.mark.parametrize(
    ("message", "details"),
    [
        (b"plain", "plain"),
        (b"100 %25 gr%C3%B6%C3%9Fer", "100 % größer"),
        (b"50 % of %zz %", "50 % of %zz %"),
        (b"%FF", "\ufffd"),
        (b"\xe9", "é"),
        (b"a+b", "a+b"),
    ],
)
def test_a_message_is_read_as_far_as_it_can_be(message, details):
    fields = [(b"grpc-status", b"2"), (b"grpc-message", message)]
    assert answer_head(fields).details == details


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (1, "CANCELLED"),
        (16, "UNAUTHENTICATED"),
        (17, "UNKNOWN"),
        (-1, "UNKNOWN"),
        (10**8, "UNKNOWN"),
    ],
)
def test_a_call_that_ends_with_a_status(status, code):
    ended = refused_by(status, "why")
    assert (ended.code, ended.details, str(ended)) == (code, "why", "why")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (f.REFUSED_STREAM, "UNAVAILABLE"),
        (f.CANCEL, "CANCELLED"),
        (f.ENHANCE_YOUR_CALM, "RESOURCE_EXHAUSTED"),
        (0, "INTERNAL"),
        (2**32 - 1, "INTERNAL"),
    ],
)
def test_a_call_whose_stream_is_reset(number, code):
    ended = refused_by_reset(number)
    assert (ended.code, ended.details) == (code, f"it reset the stream with error code {number}")
