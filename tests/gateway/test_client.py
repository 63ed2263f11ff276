"""Who asks, as far as it can be trusted."""

import pytest

from serving.gateway.client import behind


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
