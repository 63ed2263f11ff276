"""Every reader of a number that somebody else wrote as text takes digits alone, and no endless one.

`int` takes more: signs, blanks, `1_0`, digits of every script; and it raises above 4300 digits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.control.runtime_settings import RuntimeSettings
from serving.errors import InvalidInput, ModelFailed
from serving.gateway.direct.http2.headers import MalformedHead, length
from serving.gateway.grpc.deadline import NO_TIMEOUT, timeout_seconds
from serving.protocol.json.codec import parse_json_length
from serving.remote.discovery.discover import _as_number
from serving.remote.grpc.heads import answer_head
from serving.remote.http.answers import whole_answer

Reader = Callable[[str], float | None]


def json_length(text: str) -> float | None:
    try:
        return parse_json_length(text, 10**6)
    except InvalidInput:
        return None


def upstream_json_length(text: str) -> float | None:
    try:
        return whole_answer(200, b" " * 100, text).json_length
    except ModelFailed:
        return None


def content_length(text: str) -> float | None:
    try:
        return length(text.encode())
    except MalformedHead:
        return None


def grpc_timeout(text: str) -> float | None:
    seconds = timeout_seconds(text.encode() + b"S")
    return None if seconds == NO_TIMEOUT else seconds


def grpc_status(text: str) -> float | None:
    status = answer_head([(b"grpc-status", text.encode())]).status
    return None if status == 2 else status


def upstream_version(text: str) -> float | None:
    number = _as_number(text)
    return None if number < 0 else number


def trace_rate(text: str) -> float | None:
    try:
        told = RuntimeSettings(Path(), lambda _: None).trace("", {"trace_rate": text})
    except InvalidInput:
        return None
    return float(told["trace_rate"])


READERS = [
    json_length, upstream_json_length, content_length, grpc_timeout, grpc_status,
    upstream_version, trace_rate,
]  # fmt: skip


@pytest.mark.parametrize("read", READERS)
def test_digits_are_a_number(read: Reader) -> None:
    assert [read(text) for text in ("1", "10", "07")] == [1, 10, 7]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "text",
    ["", "+5", "-5", " 5", "5 ", "5\n", "1_0", "1e1", "1.0", "0x5", "\u0663", "\xb2", "9" * 5000],
)
def test_what_is_none(read: Reader, text: str) -> None:
    assert read(text) is None
