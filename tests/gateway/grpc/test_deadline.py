"""The header `grpc-timeout`, as the gRPC protocol over HTTP/2 has it."""

import pytest

from serving.gateway.grpc.deadline import NO_TIMEOUT, timeout_seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600.0), (b"2M", 120.0), (b"7S", 7.0), (b"250m", 0.25), (b"99999999u", 99.999999),
        (b"00000001n", 1e-9), (b"0S", 0.0),
    ],
)  # fmt: skip
def test_seconds(value: bytes, seconds: float) -> None:
    assert timeout_seconds(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        b"", b"S", b"1", b"1s", b"1h", b"-1S", b"+1S", b"1.5S", b"1 S", b" 1S", b"123456789S",
        b"1SS", b"1S, 2S", b"\xb2S", b"1_0S", b"soon",
    ],
)  # fmt: skip
def test_what_is_none(value: bytes) -> None:
    assert timeout_seconds(value) == NO_TIMEOUT
