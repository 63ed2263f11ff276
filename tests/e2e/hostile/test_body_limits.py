"""Bodies over the limit, with and without a length in front: 413, at once, in bounded memory."""

import contextlib
import json
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

MAX_BODY = 16 << 20
BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
HEAD = b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: localhost\r\n"


def too_large(reply: Any) -> None:
    assert reply.status == 413, (reply.status, reply.body[:300])
    (sentence,) = json.loads(reply.body).values()
    assert "over the limit" in sentence


@pytest.mark.not_on("serve", reason="uvicorn hands a request over when its body has come")
@pytest.mark.parametrize("length", [MAX_BODY + 1, 1 << 32, 2**63 - 1])
def test_a_length_that_is_only_declared(wire: ModuleType, target: Any, length: int) -> None:
    request = HEAD + b"Content-Length: %d\r\n\r\n" % length
    # Nothing follows; who waits for it answers 408, as to any slow client.
    too_large(wire.exchange(target.instance.http_port, request))


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("over", [1, MAX_BODY])
def test_a_body_that_comes(target: Any, over: int, binary: bool) -> None:
    before = target.gateway_rss()
    content = BODY + b" " * (MAX_BODY + over - len(BODY))
    headers = {"inference-header-content-length": str(len(BODY))} if binary else {}
    answer = target.post(content, headers)
    target.refused(answer, 413, "over the limit")
    assert target.gateway_rss() - before < 100 << 20


@pytest.mark.parametrize("chunk", [1 << 10, 1 << 20])
def test_chunks(wire: ModuleType, target: Any, chunk: int) -> None:
    before = target.gateway_rss()
    piece = b"%x\r\n%b\r\n" % (chunk, b" " * chunk)
    with wire.connect(target.instance.http_port) as connection:
        # Refused before all was sent: the answer may be there already.
        with contextlib.suppress(ConnectionError):
            connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(MAX_BODY // chunk + 1):
                connection.sendall(piece)
            connection.sendall(b"0\r\n\r\n")
        too_large(wire.read_reply(connection))
    assert target.gateway_rss() - before < 100 << 20


@pytest.mark.parametrize("chunked", [False, True])
def test_what_just_fits(wire: ModuleType, target: Any, chunked: bool) -> None:
    content = BODY + b" " * (MAX_BODY - len(BODY))
    if chunked:
        rest = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (MAX_BODY, content)
    else:
        rest = b"Content-Length: %d\r\n\r\n%b" % (MAX_BODY, content)
    reply = wire.exchange(target.instance.http_port, HEAD + rest)
    assert reply.status == 200, reply.body[:300]
    assert json.loads(reply.body)["outputs"][0]["data"] == [1, 2, 3, 4]


def test_a_small_body_that_declares_a_terabyte(target: Any) -> None:
    before = target.gateway_rss()
    for shape in ([1 << 38, 4], [1 << 62, 4], [1, 4, 1 << 40]):
        tensor = {"name": "x", "datatype": "FP32", "shape": shape, "data": [1, 2, 3, 4]}
        target.refused(target.post({"inputs": [tensor]}), 400, "'x'")
    assert target.gateway_rss() - before < 20 << 20
