import socket
import threading
from collections.abc import Iterator

import httpx
import msgspec
import pytest

from serving.cli.client import Answer, Client, Refused, Unreachable
from serving.errors import VigilError


class Told(msgspec.Struct):
    told: str


@pytest.fixture
def raw() -> Iterator[tuple[socket.socket, str]]:
    """A socket that listens, and its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening, f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_an_answer_is_read_as_what_it_should_be(instance) -> None:
    url = instance({"/told": (200, b'{"told": "x", "more": 1}')}).url
    for address in (url, url + "/"):
        assert Client(address).get("told").read(Told).told == "x"


@pytest.mark.parametrize(
    "content", [b"<html>", b"", b"[]", b"{}", b'{"told": 1}', b'"\xff"', b"[" * 100_000]
)
@pytest.mark.parametrize("status", [200, 302, 404, 500])
def test_what_answers_may_be_something_else(instance, content: bytes, status: int) -> None:
    url = instance({"/told": (status, content)}).url
    with pytest.raises(VigilError) as raised:
        Client(url).get("told").read(Told)
    assert raised.value.message == (
        f"what answers at {url}/told is not Vigil; give another address or port"
    )


def test_a_refusal_is_the_server_s_own_sentence(instance) -> None:
    url = instance({"/told": (503, b'{"error": "not\\u001b yet"}')}).url
    with pytest.raises(Refused) as raised:
        Client(url).post("told")
    assert raised.value.message == "not\\x1b yet"
    assert raised.value.status == 503


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_before_an_instance_that_is_away(instance, status: int) -> None:
    url = instance({"/told": (status, b"<html>")}).url
    with pytest.raises(Unreachable, match=f"{url}/told answered with {status}"):
        Client(url).get("told")


def test_a_kept_connection_that_was_closed_meanwhile(raw: tuple[socket.socket, str]) -> None:
    listening, url = raw
    reply = b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"told": "x"}'

    def answer() -> None:
        peer, _ = listening.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(reply)
            peer.recv(65536)

    thread = threading.Thread(target=answer)
    thread.start()
    with httpx.Client(verify=False) as session:
        client = Client(url, session=session)
        assert client.get("told").read(Told).told == "x"
        with pytest.raises(Unreachable, match="was closed before the answer was there"):
            client.get("told")
    thread.join()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b?c#d", "/v2/models/a%2Fb%3Fc%23d/ready"),
        ("..", "/v2/models/%2E%2E/ready"),
        ("é %", "/v2/models/%C3%A9%20%25/ready"),
        ("\udcff", "/v2/models/%FF/ready"),
        ("resnet50.v1", "/v2/models/resnet50.v1/ready"),
    ],
)
def test_a_name_stays_one_segment_of_the_path(instance, name: str, path: str) -> None:
    asked = instance({path: (200, b"{}")})
    Client(asked.url).get("v2", "models", name, "ready")
    assert asked.asked[0][1] == path


@pytest.mark.parametrize(
    "url",
    ["nonsense", "http://[::1", "ftp://h", "", "http://h\n:1", "http://h:1?a", "http://h:1/#a",
     "http://h:x", "http://127.0.0.1:99999", f"http://{'a' * 64}.example", "http://\udcff", "http://é\u200b"],
)  # fmt: skip
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(VigilError, match="write http://host:port"):
        Client(url).get("readyz")


def test_nobody_answers(raw: tuple[socket.socket, str]) -> None:
    listening, url = raw
    listening.close()
    with pytest.raises(VigilError, match=f"nothing answers at {url}/readyz; is Vigil up"):
        Client(url).get("readyz")


def test_who_never_answers_is_not_waited_for(raw: tuple[socket.socket, str]) -> None:
    _, url = raw
    with pytest.raises(VigilError, match=f"{url}/readyz has not answered within 0.1 s"):
        Client(url, patience_s=0.1).get("readyz")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "is not Vigil"),  # HTTP/2
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nno gzip", "is not Vigil"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "is not Vigil"),
        (None, "broke before the answer was there"),
    ],
)
def test_a_reply_that_is_none(
    raw: tuple[socket.socket, str], reply: bytes | None, said: str
) -> None:
    listening, url = raw

    def answer() -> None:
        peer, _ = listening.accept()
        with peer:
            peer.recv(65536)
            if reply is None:  # closed with a reset
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            else:
                peer.sendall(reply)

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(VigilError, match=said):
        Client(url).get("readyz")
    thread.join()


def test_a_server_without_tls_is_named(raw: tuple[socket.socket, str]) -> None:
    listening, url = raw

    def answer() -> None:
        peer, _ = listening.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(VigilError, match="no TLS with https://"):
        Client(url.replace("http", "https")).get("readyz")
    thread.join()


def test_bytes_that_are_no_text_are_not_read() -> None:
    with pytest.raises(VigilError, match="is not Vigil"):
        Answer("http://h", b"\xff\xfe", {}).read(str)
