"""Which traceparents are passed on (W3C Trace Context, section 3.2)."""

import pytest

from serving.telemetry.trace_context import read_traceparent

TRACE, SPAN = b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331"


@pytest.mark.parametrize("flags", [b"00", b"01", b"ff"])
def test_what_is_one(flags: bytes) -> None:
    value = b"00-%b-%b-%b" % (TRACE, SPAN, flags)
    assert read_traceparent(value) == value.decode()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00-%b-%b-01" % (b"0" * 32, SPAN),
        b"00-%b-%b-01" % (TRACE, b"0" * 16),
        b"00-%b-%b-01" % (TRACE.upper(), SPAN),
        b"00-%b-%b-0A" % (TRACE, SPAN),
        b"01-%b-%b-01" % (TRACE, SPAN),
        b"ff-%b-%b-01" % (TRACE, SPAN),
        b"00-%b-%b-01-more" % (TRACE, SPAN),
        b"00-%b-%b-01\n" % (TRACE, SPAN),
        b" 00-%b-%b-01" % (TRACE, SPAN),
        b"00-%b-%b" % (TRACE, SPAN),
        b"00-%b-%b-01" % (TRACE[1:], SPAN),
        b"00-%bg-%b-01" % (TRACE[1:], SPAN),
        b"00-%b-%b-01, 00-%b-%b-01" % (TRACE, SPAN, TRACE, SPAN),
        b"00-%s-%s-01" % (b"\xd9\xa1" * 16, SPAN),
    ],
)
def test_what_is_none(value: bytes) -> None:
    assert read_traceparent(value) == ""
