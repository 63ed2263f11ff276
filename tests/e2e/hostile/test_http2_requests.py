"""Plain requests, not gRPC, over HTTP/2 without an upgrade: right, wrong and hostile."""

import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pytest

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.not_on(
        "serve", reason="its HTTP proxy speaks HTTP/1 only, its gRPC proxy gRPC only"
    ),
]

INFER = "/v2/models/echo/infer"
MAX_BODY = 16 << 20
DEEP = 10_000
LENGTH = "inference-header-content-length"


def body(*row: float) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": row or (1, 2, 3, 4)}
    return json.dumps({"inputs": [tensor]}).encode()


@pytest.fixture(params=["http_port", "grpc_port"])
def port(request: pytest.FixtureRequest, target: Any) -> int:
    """Either port, for both take everything."""
    return int(getattr(target.instance, request.param))


@pytest.fixture
def client(port: int) -> Iterator[httpx.Client]:
    with httpx.Client(
        http1=False, http2=True, base_url=f"http://127.0.0.1:{port}", timeout=60, verify=False
    ) as client:
        yield client


@pytest.fixture
def h2(wire: ModuleType, port: int) -> Iterator[Any]:
    with wire.H2(port) as connection:
        yield connection


def begin(h2: Any, stream: int, *more: tuple[str, str], method: str = "POST") -> None:
    pairs = [
        (":method", method),
        (":scheme", "http"),
        (":path", INFER),
        (":authority", "localhost"),
    ]
    h2.headers(stream, [*pairs, ("content-type", "application/json"), *more])


def right(wire: ModuleType, h2: Any, stream: int) -> None:
    """The same connection still answers."""
    begin(h2, stream)
    h2.frame(wire.DATA, wire.END_STREAM, stream, body(stream, 0, 0, 0))
    (answer,) = h2.wait(stream)
    assert json.loads(answer.data)["outputs"][0]["data"] == [stream, 0, 0, 0]


def test_json_and_binary(client: httpx.Client) -> None:
    answer = client.post(INFER, content=body())
    assert answer.http_version == "HTTP/2"
    assert answer.json()["outputs"][0]["data"] == [1, 2, 3, 4]
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4]}
    tensor["parameters"] = {"binary_data_size": 16}
    asked = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    head, row = json.dumps(asked).encode(), np.array([5, 6, 7, 8], np.float32).tobytes()
    answer = client.post(INFER, content=head + row, headers={LENGTH: str(len(head))})
    assert answer.status_code == 200, answer.text
    assert answer.content[int(answer.headers[LENGTH]) :] == row
    assert client.get("/v2/models/echo").json()["name"] == "echo"
    assert client.head("/v2/health/live").status_code == 200


def test_a_large_body_and_a_large_answer(client: httpx.Client) -> None:
    data = np.arange(16_000, dtype=np.float32).tolist()
    tensor = {"name": "x", "datatype": "FP32", "shape": [4000, 4], "data": data}
    answer = client.post(INFER, json={"inputs": [tensor]})
    assert answer.json()["outputs"][0]["data"] == data


BAD = {
    "empty": (b"", {}),
    "array": (b"[]", {}),
    "not-utf-8": (body().replace(b'"x"', b'"\xff"'), {}),
    "nan": (body().replace(b"1,", b"NaN,"), {}),
    "deep": (b'{"u":' + b"[" * DEEP + b"]" * DEEP + b"," + body()[1:], {}),
    "twice": (b'{"id":"a","id":"b",' + body()[1:], {}),
    "wrong-shape": (body().replace(b"[1, 4]", b"[4294967296, 4294967296, 16]"), {}),
    "length-negative": (body(), {LENGTH: "-1"}),
    "length-beyond": (body(), {LENGTH: "100000"}),
    "length-0": (bytes(15), {LENGTH: "0"}),
    "broken-gzip": (body(), {"content-encoding": "gzip"}),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests(target: Any, client: httpx.Client, case: str) -> None:
    content, headers = BAD[case]
    target.refused(client.post(INFER, content=content, headers=headers), 400)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/models/%2e%2e%2fetc/infer", 404),
        ("/v2/models/%ff/infer", 404),
        ("/v2/models/echo%00/infer", 404),
        ("/v2/models/" + "a" * 5000 + "/infer", 404),
        ("/v2/models/a..b/infer", 200),
    ],
)
def test_paths(target: Any, client: httpx.Client, path: str, status: int) -> None:
    answer = client.post(path, content=body())
    if status == 200:
        assert answer.json()["model_name"] == "a..b"
    else:  # where NUL ends the request before it reaches us
        assert answer.status_code in (status, 400), answer.text


def test_a_declared_length_over_the_limit(wire: ModuleType, target: Any, h2: Any) -> None:
    begin(h2, 1, ("content-length", str(MAX_BODY + 1)))
    while ":status" not in h2.streams[1].headers:  # before any data and any time-out
        h2.flush()
        h2.read()
        assert not h2.closed
    assert h2.streams[1].headers[":status"] == "413"
    right(wire, h2, 3)


@pytest.mark.parametrize("length", ["0", "1", "100000", "-1", "x", "5, 6"])
def test_a_length_that_is_not_that_of_the_data(wire: ModuleType, h2: Any, length: str) -> None:
    begin(h2, 1, ("content-length", length))
    h2.frame(wire.DATA, wire.END_STREAM, 1, body())
    (answer,) = h2.wait(1)
    assert h2.closed or answer.reset is not None or answer.headers[":status"] == "400"
    if not h2.closed and not h2.goaway:
        right(wire, h2, 3)


def test_a_body_in_one_byte_frames(wire: ModuleType, h2: Any) -> None:
    begin(h2, 1)
    for byte in body(9, 8, 7, 6):
        h2.frame(wire.DATA, 0, 1, bytes((byte,)))
    h2.frame(wire.DATA, wire.END_STREAM, 1)
    (answer,) = h2.wait(1)
    assert json.loads(answer.data)["outputs"][0]["data"] == [9, 8, 7, 6]


def test_streams_side_by_side_get_their_own_answers(wire: ModuleType, h2: Any) -> None:
    numbers = range(1, 101, 2)
    for number in numbers:
        begin(h2, number)
    for number in reversed(numbers):
        content = body(number, 0, 0, 0)
        h2.frame(wire.DATA, 0, number, content[:20])
        h2.frame(wire.DATA, wire.END_STREAM, number, content[20:])
    for number, answer in zip(numbers, h2.wait(*numbers), strict=True):
        assert json.loads(answer.data)["outputs"][0]["data"] == [number, 0, 0, 0]


def test_requests_that_are_given_up_in_the_middle(wire: ModuleType, target: Any, h2: Any) -> None:
    for number in range(1, 101, 2):
        begin(h2, number)
        h2.frame(wire.DATA, 0, number, body()[:number])
        h2.frame(wire.RST, 0, number, (8).to_bytes(4, "big"))
    h2.flush()
    target.still_right()
    right(wire, h2, 201)


def test_trailers_end_a_body_as_well(wire: ModuleType, h2: Any) -> None:
    begin(h2, 1)
    h2.frame(wire.DATA, 0, 1, body())
    h2.headers(1, [("x-trailer", "a")], end=True)
    (answer,) = h2.wait(1)
    assert answer.headers[":status"] == "200"
    right(wire, h2, 3)


FORBIDDEN = {
    "transfer-encoding": [("transfer-encoding", "chunked")],
    "connection": [("connection", "upgrade"), ("upgrade", "h2c")],
    "two-lengths": [("content-length", "5"), ("content-length", "6")],
    "newline": [("x-evil", "a\r\nx-other: b")],
    "nul": [("x-evil", "a\0b")],
    "upper-case": [("X-Evil", "a")],
    "second-path": [(":path", "/v2/models/smuggled")],
    "200-kB": [(f"x-{number}", "a" * 1000) for number in range(200)],
}


@pytest.mark.parametrize("case", FORBIDDEN)
def test_forbidden_headers(wire: ModuleType, h2: Any, case: str) -> None:
    begin(h2, 1, *FORBIDDEN[case])
    h2.frame(wire.DATA, wire.END_STREAM, 1, body())
    (answer,) = h2.wait(1)
    assert h2.closed or answer.reset is not None or answer.headers[":status"] in ("400", "431")
    assert b"smuggled" not in answer.data


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "QUATSCH", "GET"])
def test_methods(wire: ModuleType, h2: Any, method: str) -> None:
    begin(h2, 1, ("x-secret", "canary"), method=method)
    h2.frame(wire.DATA, wire.END_STREAM, 1, body())
    (answer,) = h2.wait(1)
    refused = answer.headers.get(":status") in ("400", "404", "405", "501")
    assert h2.closed or answer.reset is not None or refused
    assert b"canary" not in answer.data
