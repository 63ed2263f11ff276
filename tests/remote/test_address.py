"""Which URLs name a server, and which hosts may be named."""

from __future__ import annotations

import pytest

from serving.config import ConfigError
from serving.remote.address import Address, check_host, parse_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("grpc://h", Address("grpc", "h", 8001)),
        ("grpcs://h", Address("grpcs", "h", 8001)),
        ("http://h", Address("http", "h", 80)),
        ("https://h", Address("https", "h", 443)),
        ("http://h:9/", Address("http", "h", 9)),
        ("grpc://10.0.0.1:65535", Address("grpc", "10.0.0.1", 65535)),
        ("HTTP://Host.Example:9", Address("http", "host.example", 9)),
        ("grpc://[::1]:9", Address("grpc", "::1", 9)),
        ("https://[2001:db8::1]", Address("https", "2001:db8::1", 443)),
    ],
)
def test_an_address(url, address):
    assert parse_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h",
        "h:8001",
        "//h:8001",
        "ftp://h",
        "unix:///tmp/s",
        "file:///etc",
        "http://",
        "http://:80",
        "http:///v2",
        "http://h/v2",
        "http://h//",
        "http://h:x",
        "http://h:-1",
        "http://h:65536",
        "http://[::1",
        "http://h:0",
        "http://h?token=1",
        "http://h/?x",
        "http://h#part",
        "http://h/?",
        "http://h;x/y",
        "http://h\n:9",
        "http://a b:9",
        "http://h\x00:9",
    ],
)
def test_no_address(url):
    with pytest.raises(ConfigError, match="is no address of a server; write grpc://host:port"):
        parse_address(url)


@pytest.mark.parametrize("url", ["http://me:s3cret@h:1", "grpc://s3cret@h:x", "me:s3/cret@h:1"])
def test_an_address_with_a_secret_is_refused_and_not_quoted(url):
    with pytest.raises(ConfigError, match=r"in remote\.credentials, or with --token-file") as told:
        parse_address(url)
    assert "cret" not in str(told.value).replace("secret", "")


def test_a_long_one_is_quoted_in_part():
    with pytest.raises(ConfigError) as told:
        parse_address("http://h/" + "x" * 10_000)
    assert f"'http://h/{'x' * 191}' is" in str(told.value)


@pytest.mark.parametrize(
    ("scheme", "grpc", "tls"),
    [("grpc", True, False), ("grpcs", True, True), ("http", False, False), ("https", False, True)],
)
def test_what_a_scheme_means(scheme, grpc, tls):
    address = Address(scheme, "h", 1)
    assert (address.grpc, address.tls) == (grpc, tls)


@pytest.mark.parametrize(
    ("host", "netloc"), [("h", "h:7"), ("127.0.0.1", "127.0.0.1:7"), ("::1", "[::1]:7")]
)
def test_its_url_is_read_back_as_the_same(host, netloc):
    address = Address("grpcs", host, 7)
    assert (address.netloc, address.url) == (netloc, f"grpcs://{netloc}")
    assert parse_address(address.url) == address


@pytest.mark.parametrize("allowed", [None, ["other", "h"], ("h",), ["H"]])
def test_hosts_that_may_be_named(allowed):
    check_host(Address("grpc", "h", 1), allowed, "m")


@pytest.mark.parametrize("allowed", [[], ["other"], ["h.example", "hh"]])
def test_hosts_that_may_not(allowed):
    with pytest.raises(ConfigError) as told:
        check_host(Address("grpc", "h", 1), allowed, "m")
    assert str(told.value).startswith(
        "model 'm': remote.url names the host 'h', which is not among"
    )
