"""An answer that does not come, or does not end, costs no more time and memory than it may."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
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


def test_whole_answers_share_a_connection(
    session: BoundedSession, bad_collector: Callable[[str], Any]
) -> None:
    collector = bad_collector("is_well")
    for _ in range(3):
        assert post(session, collector.url, 60).status_code == 200
    assert collector.taken == 1


# The socket is read again and again, each time within the timeout of `requests`.
@pytest.mark.parametrize(
    "how", ["answers_slowly", "body_comes_slowly", "body_without_length_comes_slowly"]
)
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


class Asking:
    """A request in a thread, with more time than any test has."""

    def __init__(self, session: BoundedSession, url: str) -> None:
        self.failed: list[Exception] = []
        self._session, self._url = session, url
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            post(self._session, self._url, 300)
        except requests.ConnectionError as error:
            self.failed.append(error)

    def ends_when_closed(self) -> None:
        assert self.failed == []
        self._session.close()
        self._thread.join(30)
        assert len(self.failed) == 1
        with pytest.raises(requests.ConnectionError, match="closed"):
            post(self._session, self._url, 300)


@pytest.mark.parametrize(
    ("how", "scheme"),
    [
        ("never_reads", "http"),
        ("answers_slowly", "http"),
        ("body_comes_slowly", "http"),
        ("body_without_length_comes_slowly", "http"),
        ("never_reads", "https"),
        ("shakes_hands_slowly", "https"),
    ],
)
def test_closing_ends_what_is_under_way(
    session: BoundedSession,
    bad_collector: Callable[[str], Any],
    wait_until: Callable[..., None],
    how: str,
    scheme: str,
) -> None:
    collector = bad_collector(how)
    asking = Asking(session, collector.url.replace("http", scheme))
    wait_until(lambda: collector.taken and (how == "never_reads" or collector.sent))
    asking.ends_when_closed()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_closing_ends_connecting(
    session: BoundedSession, unanswered: str, wait_until: Callable[..., None], scheme: str
) -> None:
    port = int(unanswered.rpartition(":")[2])
    others = connecting_to(port)
    asking = Asking(session, unanswered.replace("http", scheme))
    wait_until(lambda: connecting_to(port) > others)
    asking.ends_when_closed()


def connecting_to(port: int) -> int:
    """Return how many sockets of this machine wait for an answer of a port, see proc(5)."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[2].endswith(f":{port:04X}") and line[3] == "02" for line in lines)


def test_all_addresses_together_have_no_more_time(
    session: BoundedSession, unanswered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(unanswered.rpartition(":")[2])
    address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))
    monkeypatch.setattr(socket, "getaddrinfo", names({"collector": [address] * 10_000}))
    with pytest.raises(requests.ConnectionError):
        post(session, f"http://collector:{port}", 0.3)


def names(known: dict[str, list[Any]]) -> Callable[..., list[Any]]:
    """Return a `getaddrinfo` that knows these."""

    def find(host: str, port: int, *_args: Any, flags: int = 0, **_more: Any) -> list[Any]:
        if flags & socket.AI_NUMERICHOST or host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known[host]

    return find


def test_closing_ends_the_wait_for_a_name(
    session: BoundedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, ends = threading.Event(), threading.Event()

    def find(host: str, *args: Any, flags: int = 0, **more: Any) -> list[Any]:
        if not flags & socket.AI_NUMERICHOST:
            asked.set()
            ends.wait(300)
        return names({})(host, *args, flags=flags, **more)

    monkeypatch.setattr(socket, "getaddrinfo", find)
    try:
        asking = Asking(session, "http://collector:4318")
        assert asked.wait(30)
        asking.ends_when_closed()
    finally:
        ends.set()


def test_closing_ends_what_goes_through_a_proxy(
    session: BoundedSession,
    bad_collector: Callable[[str], Any],
    wait_until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = bad_collector("answers_slowly")
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    asking = Asking(session, "http://collector.example")
    wait_until(lambda: proxy.sent)
    asking.ends_when_closed()


def test_tls_is_spoken_with_whom_the_certificate_says(
    session: BoundedSession,
    certificate: Path,
    http_servers: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", requests.certs.where())
    server, context = Answers(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "server.pem", certificate / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = f"https://127.0.0.1:{server.server_address[1]}"
    with http_servers.in_thread(server):
        with pytest.raises(requests.exceptions.SSLError):
            post(session, url, 60)
        session.verify = str(certificate / "server.pem")
        assert post(session, url, 60).status_code == 200


class Answers(ThreadingHTTPServer):
    """A server that says yes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that does not like the certificate."""


class _Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


# The SDK takes it for a success, and nobody has got what was sent.
def test_a_redirect_is_a_failure_that_is_not_tried_again(
    session: BoundedSession, receiver: Any
) -> None:
    receiver.status = 308
    with pytest.raises(requests.RequestException, match="answers 308") as failed:
        post(session, f"{receiver.url}/v1/traces", 60)
    assert not isinstance(failed.value, requests.ConnectionError)


def test_who_has_no_time_left_does_not_begin(session: BoundedSession, receiver: Any) -> None:
    with pytest.raises(requests.ConnectionError):
        post(session, receiver.url, 0.0)
    assert post(session, receiver.url, 60).status_code == 404


@pytest.mark.parametrize("name", ["CREDENTIAL_PROVIDER", "LOGS_CREDENTIAL_PROVIDER"])
def test_a_session_that_a_variable_names_goes_first(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert isinstance(bounded_session("logs"), BoundedSession)
    monkeypatch.setenv(f"OTEL_PYTHON_EXPORTER_OTLP_HTTP_{name}", "mine")
    assert bounded_session("logs") is None
