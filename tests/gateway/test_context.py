"""What a request of the ASGI app comes with."""

import time

import pytest

from serving.access.principals import ANYBODY, Principal
from serving.gateway.context import context_of, deadline_in

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("headers", "trace"),
    [({}, ""), ({b"traceparent": TRACE}, TRACE.decode()), ({b"traceparent": TRACE * 90}, "")],
)
def test_context_of_a_request(headers: dict[bytes, bytes], trace: str) -> None:
    before = time.monotonic()
    somebody = Principal("somebody")
    context = context_of(somebody, {"client": ("10.0.0.7", 1)}, headers, timeout_s=5.0)
    assert (context.client, context.trace) == ("10.0.0.7", trace)
    assert context.principal is somebody
    assert context.deadline is not None
    assert before + 5 <= context.deadline <= time.monotonic() + 5
    assert context_of(ANYBODY, {}, headers).deadline is None


def test_a_deadline_is_read_from_a_clock_that_never_jumps() -> None:
    assert deadline_in(None) is None
    before = time.monotonic()
    deadline = deadline_in(2.5)
    assert deadline is not None
    assert before + 2.5 <= deadline <= time.monotonic() + 2.5


def test_what_says_who_asks_is_kept_and_never_shown() -> None:
    context = context_of(ANYBODY, {}, {b"authorization": b"Bearer hunter2"})
    assert context.credential == b"Bearer hunter2"
    assert "hunter2" not in f"{context} {context!r} {context.credential} {context.credential!r}"
    assert context_of(ANYBODY, {}, {}).credential == b""
