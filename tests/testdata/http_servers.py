"""Not a test: HTTP servers in threads, for tests of several folders."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer
from typing import Any, TypeVar

ServerT = TypeVar("ServerT", bound=BaseServer)


@contextmanager
def in_thread(server: ServerT) -> Iterator[ServerT]:
    """Let a server serve while the context lasts; afterwards its thread and socket are gone."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class EventReceiver(ThreadingHTTPServer):
    """Keeps what is posted; answers the statuses of `answers`, then 200.

    Where there is an event `hold`, no post is answered before it is set. With `drip` an answer goes
    on byte by byte without an end: 1 before the status, 200 behind it.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/events?from=test"
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.hold: threading.Event | None = None
        self.drip = 0

    def events(self) -> list[dict[str, Any]]:
        return [event for _, body in list(self.posts) for event in json.loads(body)]

    def shutdown(self) -> None:
        """Let go of those who wait, too."""
        self.drip = 0
        if self.hold is not None:
            self.hold.set()
        super().shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: EventReceiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        receiver = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        if receiver.hold is not None:
            receiver.hold.wait(60)
        status = receiver.answers.pop(0) if receiver.answers else 200
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver.posts.append((headers, body))
        if receiver.drip != 1:
            self.send_response(status)
            self.send_header("content-length", "1000" if receiver.drip else "0")
            self.end_headers()
        while receiver.drip:
            try:
                self.wfile.write(b"H")  # of `HTTP/1.1`, or of the body
                self.wfile.flush()
            except OSError:
                return
            time.sleep(0.05)

    def log_message(self, *_: Any) -> None:
        pass
