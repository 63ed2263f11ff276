"""The section `cloudevents` of `vigil.yaml`."""

from __future__ import annotations

import pytest

from serving.config import CloudEvents, ServerConfig


def test_nobody_is_told_unless_somebody_is_named() -> None:
    assert ServerConfig().cloudevents is None
    section = CloudEvents(url="http://127.0.0.1:8080")
    assert (section.mode, section.batch, section.interval_s) == ("batch", 200, 1.0)


@pytest.mark.parametrize("url", ["http://a", "https://a.b:1/c?d=e@f", "http://[::1]:80/v2/x"])
def test_addresses(url: str) -> None:
    assert CloudEvents(url=url).url == url


@pytest.mark.parametrize(
    "url", ["", "a", "ftp://a", "http://", "http:///x", "http://a b", "http://a#b", "http://ü"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="is no address; write for example"):
        CloudEvents(url=url)


def test_a_secret_in_an_address_is_refused_and_not_quoted() -> None:
    with pytest.raises(ValueError, match="holds a user or a secret") as raised:
        CloudEvents(url="http://me:hunter2@a")
    assert "hunter2" not in raised.value.errors()[0]["msg"]


@pytest.mark.parametrize("wrong", [{"batch": 1}, {"mode": "one"}, {"interval_s": 0}, {"x": 1}])
def test_wrong_values(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CloudEvents(url="http://a", **wrong)  # type: ignore[arg-type]
