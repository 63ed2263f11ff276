"""A server that takes what it gets, for clients that misbehave."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest


class Sink:
    """Accepts connections and keeps what each sends; `answer` may write to them."""

    def __init__(self, answer: Callable[[socket.socket, bytes], None] | None = None) -> None:
        self.received: list[bytearray] = []
        self.error: Exception | None = None
        self._last: object = None
        self._answer = answer
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            connection, address = self._server.accept()
            if address == self._last:
                connection.close()
                return
            kept = bytearray()
            self.received.append(kept)
            thread = threading.Thread(target=self._read, args=(connection, kept), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _read(self, connection: socket.socket, kept: bytearray) -> None:
        with connection:
            try:
                while piece := connection.recv(1 << 16):
                    kept += piece
                    if self._answer:
                        self._answer(connection, bytes(kept))
            except OSError:  # reset by its client, or closed by `answer`
                pass
            except Exception as error:
                self.error = error

    def close(self) -> None:
        """Take no more, and wait until all that came is read."""
        # One more connection of its own: all that came before are accepted before it is.
        with socket.socket() as last:
            last.bind(("127.0.0.1", 0))
            self._last = last.getsockname()
            last.connect(("127.0.0.1", self.port))
            self._threads[0].join(60)
        self._server.close()
        for thread in self._threads:
            thread.join(60)
        assert self.error is None, self.error


@pytest.fixture
def sink() -> Iterator[Callable[..., Sink]]:
    """Makes sinks; closed when the test has ended, if it has not done so."""
    made: list[Sink] = []

    def make(answer: Callable[[socket.socket, bytes], None] | None = None) -> Sink:
        made.append(Sink(answer))
        return made[-1]

    yield make
    for each in made:
        if each._server.fileno() >= 0:
            each.close()
