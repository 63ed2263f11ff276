"""`vigil.yaml`: what is refused, and with which words."""

from __future__ import annotations

import pytest

from serving.config import Listen, Telemetry


@pytest.mark.parametrize(
    ("given", "mib"),
    [
        ({}, 256), ({"max_body_mib": 3}, 256), ({"max_body_mib": 100}, 400),
        ({"max_inflight_mib": 64}, 64), ({"max_body_mib": 1, "max_inflight_mib": 1}, 1),
    ],
)  # fmt: skip
def test_bodies_that_are_held_at_once(given: dict[str, int], mib: int) -> None:
    assert Listen(**given).inflight_bytes == mib << 20


@pytest.mark.parametrize(
    "origin",
    ["*", "https://app.example.com", "http://localhost:3000", "http://[::1]:8080",
     "chrome-extension://abcdef"],
)  # fmt: skip
def test_origins_as_browsers_send_them(origin: str) -> None:
    assert Listen(cors_origins=[origin]).cors_origins == [origin]


@pytest.mark.parametrize(
    "origin",
    ["app.example.com", "https://app.example.com/", "https://App.example.com", "null", "",
     "https://app.example.com:443", "http://localhost:80", "https://*.example.com",
     "https://a.example https://b.example", "https://a.example\r\nx: y", "http://bücher.example"],
)  # fmt: skip
def test_what_no_browser_would_send_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match="is no origin; write it as browsers send it"):
        Listen(cors_origins=[origin])


@pytest.mark.parametrize(("told", "endpoint"), [("http://c:4318", "http://c:4318"), ("", None)])
def test_where_metrics_are_pushed_to(told: str, endpoint: str | None) -> None:
    assert Telemetry(otlp_endpoint=told).otlp_endpoint == endpoint


@pytest.mark.parametrize("wrong", ["c:4318", "127.0.0.1:4318", "ftp://c", "http://"])
def test_a_collector_of_metrics_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=rf"'{wrong}' is no collector; write a URL"):
        Telemetry(otlp_endpoint=wrong)
