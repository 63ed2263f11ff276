"""Names of hosts."""

from __future__ import annotations

import pytest

from serving.config import Listen
from serving.config.hosts import host_name


@pytest.mark.parametrize(("host", "name"), [
    ("Example.COM:80", "example.com"), ("[::1]:80", "::1"), ("a.", "a"), ("", ""), (":80", ""),
    ("a@b", None), ("a/b", None), ("a b", None), ("[::1", None), ("::1", None), ("a:b", None),
    ("a:123456", None), ("ä", None), ("a,b", "a,b"), ("a\n", None),
])  # fmt: skip
def test_the_name_in_a_host_header(host, name):
    assert host_name(host) == name


@pytest.mark.parametrize("host", ["a", "models.example.com", "10.0.0.1", "::1", "*", "my_host"])
def test_hosts_that_can_be_allowed(host):
    assert Listen(allowed_hosts=[host]).hosts == [host]


@pytest.mark.parametrize("host", [
    "", "A.example", "http://a", "a:80", "[::1]", "a/b", "*.a", "a b", "a.", "-a", "0::1",
])  # fmt: skip
def test_what_is_no_host(host):
    with pytest.raises(ValueError, match="without scheme, port or brackets"):
        Listen(allowed_hosts=[host])


def test_beyond_loopback_any_name_will_do():
    listen = Listen(host="0.0.0.0", allowed_hosts=["a"])
    assert (listen.hosts, listen.admin_hosts) == (None, ["a"])
    listen = Listen(admin_host="0.0.0.0")
    assert (listen.hosts, listen.admin_hosts) == ([], None)
