"""Which requests of browsers are answered."""

from __future__ import annotations

import pytest

from serving.access.web import FROM_A_PAGE, WebAccess

PAGE = "https://app.example.com"
OURS = WebAccess([PAGE], ["models.example.com"])


@pytest.mark.parametrize("host", [
    "", "localhost", "localhost:8000", "LocalHost:8000", "localhost.", "127.0.0.1:1", "127.8.9.1",
    "[::1]", "[::1]:8000", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]", "localhost:",
    "models.example.com", "Models.Example.com:8000",
])  # fmt: skip
def test_hosts_that_can_only_be_meant(host):
    for _ in range(2):  # the second time it is known
        assert OURS.refusal("GET", {b"host": host.encode()}) is None


@pytest.mark.parametrize("host", [
    "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example",
    "notlocalhost", "10.0.0.1", "[::2]", "0.0.0.0", "localhost@evil.example", "evil\xff", "a b",
    "localhost/x", "localhost, evil.example", "127.1", "2130706433", "[::1", "localhost:8000:1",
    "example.com", "x.models.example.com",
])  # fmt: skip
def test_any_other_host_is_refused_whatever_is_asked(host):
    for method in ("GET", "POST", "OPTIONS"):
        refused = OURS.refusal(method, {b"host": host.encode("latin-1")})
        assert refused is not None
        assert "listen.allowed_hosts" in refused


def test_without_a_host_no_browser_asks():
    assert OURS.refusal("GET", {}) is None


def test_where_others_reach_the_server_its_names_are_not_known():
    for access in (WebAccess(), WebAccess(hosts=["*"])):
        assert access.refusal("POST", {b"host": b"evil.example"}) is None


@pytest.mark.parametrize("headers", [
    {b"origin": b"https://evil.example"}, {b"origin": b"null"}, {b"origin": b""},
    {b"origin": b"https://app.example.com, https://evil.example"},
    {b"origin": b"https://app.example.com.evil.example"}, {b"origin": b"https://APP.example.com"},
    {b"origin": b"http://localhost:8000"}, {b"sec-fetch-site": b"cross-site"},
    {b"sec-fetch-site": b"same-origin"},
])  # fmt: skip
def test_pages_send_only_what_changes_nothing(headers):
    assert OURS.refusal("POST", headers) == FROM_A_PAGE
    assert OURS.refusal("DELETE", headers) == FROM_A_PAGE
    assert OURS.refusal("GET", headers) is None
    assert OURS.refusal("OPTIONS", headers) is None
    assert WebAccess(["*"]).refusal("POST", headers) is None


@pytest.mark.parametrize("headers", [
    {}, {b"origin": PAGE.encode()}, {b"sec-fetch-site": b"none"},
    {b"origin": PAGE.encode(), b"sec-fetch-site": b"cross-site"},
])  # fmt: skip
def test_programs_and_named_pages_are_answered(headers):
    assert OURS.refusal("POST", headers) is None
