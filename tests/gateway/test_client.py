"""Who asks, as far as it can be trusted."""

import time

import pytest

from serving.gateway.client import behind, context_of


@pytest.mark.parametrize(
    ("forwarded", "proxies", "client"),
    [
        ("1.1.1.1", 0, "peer"),
        ("1.1.1.1", 1, "1.1.1.1"),
        ("6.6.6.6, 1.1.1.1", 1, "1.1.1.1"),
        ("6.6.6.6, 1.1.1.1, 10.0.0.1", 2, "1.1.1.1"),
        ("1.1.1.1", 2, "peer"),
        ("", 1, "peer"),
        ("6.6.6.6,", 1, "peer"),
    ],
)
def test_only_what_trusted_proxies_added_counts(forwarded: str, proxies: int, client: str) -> None:
    assert behind("peer", forwarded, proxies) == client


TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("headers", "trace"),
    [({}, ""), ({b"traceparent": TRACE}, TRACE.decode()), ({b"traceparent": TRACE * 90}, "")],
)
def test_context_of_a_request(headers: dict[bytes, bytes], trace: str) -> None:
    before = time.monotonic()
    context = context_of({"client": ("10.0.0.7", 1)}, headers, timeout_s=5.0)
    assert (context.client, context.trace) == ("10.0.0.7", trace)
    assert context.deadline is not None
    assert before + 5 <= context.deadline <= time.monotonic() + 5
    assert context_of({}, headers).deadline is None
