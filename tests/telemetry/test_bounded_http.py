"""An answer that does not come, or does not end, costs no more time and memory than it may."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from serving.telemetry.bounded_http import MOST_BYTES, BoundedSession, bounded_session


@pytest.fixture
def session() -> Iterator[BoundedSession]:
    made = BoundedSession()
    yield made
    made.close()


def post(session: requests.Session, url: str, timeout_s: float) -> requests.Response:
    return session.request("POST", url, data=b"x", timeout=timeout_s, allow_redirects=False)


def test_whole_answers_share_a_connection(session: BoundedSession, receiver: Any) -> None:
    receiver.status = 400
    connections = {
        id(connection)
        for _ in range(3)
        if post(session, f"{receiver.url}/v1/traces", 60).status_code == 400
        for connection in session._connections
    }
    assert len(connections) == 1


# The socket is read again and again, each time within the timeout of `requests`.
@pytest.mark.parametrize("how", ["answers_slowly", "body_comes_slowly"])
def test_a_slow_answer_is_cut_off(
    session: BoundedSession, bad_collector: Callable[[str], Any], how: str
) -> None:
    collector = bad_collector(how)
    with pytest.raises(requests.ConnectionError):
        post(session, collector.url, 0.3)
    assert collector.taken == 1
    assert collector.sent < 50_000  # it would have gone on


def test_of_an_answer_without_end_little_is_read(
    session: BoundedSession, bad_collector: Callable[[str], Any]
) -> None:
    collector = bad_collector("never_ends")
    response = post(session, collector.url, 60)
    assert response.status_code == 200
    # What was on its way is in buffers of the kernel.
    assert collector.sent < MOST_BYTES + (16 << 20)


@pytest.mark.parametrize("how", ["never_reads", "answers_slowly", "body_comes_slowly"])
def test_closing_ends_what_is_under_way(
    session: BoundedSession, bad_collector: Callable[[str], Any], how: str
) -> None:
    collector = bad_collector(how)
    failed: list[Exception] = []

    def ask() -> None:
        try:
            post(session, collector.url, 300)
        except requests.ConnectionError as error:
            failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    deadline = time.monotonic() + 60
    while not collector.taken or (how != "never_reads" and not collector.sent):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    session.close()
    asking.join(60)
    assert len(failed) == 1
    with pytest.raises(requests.ConnectionError, match="closed"):
        post(session, collector.url, 300)


@pytest.mark.parametrize("name", ["CREDENTIAL_PROVIDER", "LOGS_CREDENTIAL_PROVIDER"])
def test_a_session_that_a_variable_names_goes_first(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert isinstance(bounded_session("logs"), BoundedSession)
    monkeypatch.setenv(f"OTEL_PYTHON_EXPORTER_OTLP_HTTP_{name}", "mine")
    assert bounded_session("logs") is None
