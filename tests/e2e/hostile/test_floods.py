"""Floods of tiny pieces on one connection: other clients are answered all the while."""

from __future__ import annotations

import json
import threading
from types import ModuleType
from typing import Any

import pytest

PIECES = 400_000
ANSWERS = 20
"""Far more than fit between the turns of a loop that takes in all that one connection has sent."""


def chunks(wire: ModuleType) -> bytes:
    head = (
        b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    )
    return head + b"Connection: close\r\n\r\n" + b"1\r\n \r\n" * PIECES + b"0\r\n\r\n"


def frames(wire: ModuleType) -> bytes:
    start = wire.PREFACE + wire.frame(wire.SETTINGS, 0, 0, b"")
    block = wire.hpack.Encoder().encode(
        wire.grpc_headers("/inference.GRPCInferenceService/ModelInfer")
    )
    head = wire.frame(wire.HEADERS, wire.END_HEADERS, 1, block)
    flood = wire.frame(wire.DATA, 0, 1, b"x") * PIECES
    # The length that follows is a lie for which the connection ends.
    return bytes(start + head + flood + wire.frame(wire.PING, 0, 0, b"short"))


@pytest.mark.not_on("envoy", reason="it reads in threads of its own")
@pytest.mark.not_on("serve", reason="its proxy reads in a process of its own")
@pytest.mark.parametrize("flood", [chunks, frames])
def test_others_are_answered_while_one_connection_floods(
    wire: ModuleType, target: Any, flood: Any
) -> None:
    content, begun, over = flood(wire), threading.Event(), threading.Event()

    def attack() -> None:
        with wire.connect(target.instance.http_port, 60) as connection:
            begun.set()
            connection.sendall(content)
            while connection.recv(65536):
                pass
        over.set()

    body = json.dumps(target.request([1.0, 2.0, 3.0, 4.0])).encode()
    attacker = threading.Thread(target=attack)
    attacker.start()
    assert begun.wait(60)
    answered = 0
    while not over.is_set():
        assert target.post(body).status_code == 200
        answered += 1
    attacker.join(60)
    assert answered >= ANSWERS
