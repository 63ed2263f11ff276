import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from loadtest import paced

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REQUEST = b"GET / HTTP/1.1\r\n\r\n"
Serve = Callable[[Callable[[int], list[bytes]]], int]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts a server for one connection whose answer to each request a function gives."""
    monkeypatch.setattr(paced, "CONNECTIONS", 1)
    listening = socket.create_server(("127.0.0.1", 0))
    threads = []

    def start(answer: Callable[[int], list[bytes]]) -> int:
        def run() -> None:
            connection, _ = listening.accept()
            with connection:
                number = 0
                while connection.recv(1000):
                    for part in answer(number):
                        connection.sendall(part)
                    number += 1
                    if not answer(number - 1):
                        return

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return int(listening.getsockname()[1])

    yield start
    for thread in threads:
        thread.join()
    listening.close()


def test_a_stall_is_charged_to_everybody_who_came_meanwhile(serve: Serve) -> None:
    def answer(number: int) -> list[bytes]:
        if number == 0:
            time.sleep(0.1)  # all others come while the first one waits
        return [ANSWER]

    told = paced.measure(serve(answer), REQUEST, rate=2000, seconds=0.05, seed=1)
    assert (told["answered"], told["of"], told["wrong"], told["lost_connections"]) == (
        100,
        100,
        0,
        0,
    )
    assert told["p50_ms"] > 50


def test_answers_in_pieces_and_errors_are_counted(serve: Serve) -> None:
    def answer(number: int) -> list[bytes]:
        wrong = ANSWER.replace(b"200", b"500")
        return [wrong] if number == 3 else [ANSWER[:10], ANSWER[10:-1], ANSWER[-1:]]

    told = paced.measure(serve(answer), REQUEST, rate=1000, seconds=0.02, seed=1)
    assert (told["answered"], told["wrong"]) == (20, 1)


def test_a_connection_that_the_server_closes_is_lost(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paced, "_GRACE_S", 0.1)
    told = paced.measure(serve(lambda _: []), REQUEST, rate=1000, seconds=0.01, seed=1)
    assert (told["answered"], told["lost_connections"]) == (0, 1)


def test_it_sleeps_while_nothing_is_due(serve: Serve) -> None:
    told = paced.measure(serve(lambda _: [ANSWER]), REQUEST, rate=20, seconds=0.5, seed=1)
    assert told["answered"] == 10
    assert told["cpu"] < 0.5
