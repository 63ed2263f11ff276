"""Request ids that collide, are enormous or unprintable: never an answer for another request."""

import asyncio
import json
from types import ModuleType
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

pytestmark = pytest.mark.e2e

URL = "/v2/models/echo/infer"


def request(target: Any, number: float, ident: str) -> dict[str, Any]:
    return {"id": ident, **target.request([number, number + 0.5, -number, 0.0])}


def test_one_id_for_all_never_mixes_answers_over_http(target: Any) -> None:
    async def client(number: int) -> None:
        async with httpx.AsyncClient(
            base_url=target.instance.url, timeout=60, verify=False
        ) as http:
            for turn in range(20):
                value = float(number * 100 + turn)
                body = json.dumps(request(target, value, "1"))
                answer = await http.post(URL, content=body, headers={"x-request-id": "1"})
                assert answer.status_code == 200, answer.text
                given = answer.json()
                assert given["id"] == "1"
                assert given["outputs"][0]["data"] == [value, value + 0.5, -value, 0.0]

    async def crowd() -> None:
        await asyncio.gather(*map(client, range(25)))

    asyncio.run(crowd())


def test_one_id_for_all_never_mixes_answers_over_grpc(target: Any) -> None:
    def message(value: float) -> Any:
        asked = target.message([value, value + 0.5, -value, 0.0])
        asked.id = "1"
        return asked

    channels = [
        grpc.insecure_channel(target.instance.grpc, [("grpc.use_local_subchannel_pool", 1)])
        for _ in range(8)
    ]
    calls = [
        channel.unary_unary("/inference.GRPCInferenceService/ModelInfer") for channel in channels
    ]
    values = [float(number) for number in range(400)]
    pending = [
        calls[index % 8].future(message(value).SerializeToString(), timeout=60)
        for index, value in enumerate(values)
    ]
    for value, future in zip(values, pending, strict=True):
        reply = service_pb2.ModelInferResponse.FromString(future.result())
        assert reply.id == "1"
        row = np.frombuffer(reply.raw_output_contents[0], np.float32).tolist()
        assert row == [value, value + 0.5, -value, 0.0]
    for channel in channels:
        channel.close()


ECHOED = {
    "256-characters": "i" * 256,
    "unicode": "\N{GRINNING FACE}" * 256,
    "newline": "a\r\nX-Evil: 1",
    "nul": "a\0b",
    "ansi": "\x1b[31m",
    "quotes": "\"'\\",
    "blanks": "  ",
    "markup": "<script>alert(1)</script>",
    "format": "%s{0}${jndi:ldap://x}",
    "path": "../../etc/passwd",
    "other-way": "\u202e\u2066",
}


@pytest.mark.parametrize("case", ECHOED)
def test_ids_come_back_as_they_went(target: Any, case: str) -> None:
    ident = ECHOED[case]
    answer = target.post(request(target, 1, ident))
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == ident
    assert "x-evil" not in answer.headers
    header = answer.headers.get("x-request-id")
    assert header is None or target.differs("own-ids") or header == ident.strip()
    message = target.message([1, 2, 3, 4])
    message.id = ident
    reply = service_pb2.ModelInferResponse.FromString(target.call(message))
    assert reply.id == ident


@pytest.mark.parametrize("length", [257, 10_000, 1 << 20])
def test_ids_that_are_too_long(target: Any, length: int) -> None:
    ident = "i" * length
    target.refused(target.post(request(target, 1, ident)), 400, "longer than 256")
    message = target.message([1, 2, 3, 4])
    message.id = ident
    target.fails(grpc.StatusCode.INVALID_ARGUMENT, "longer than 256", message)


def test_a_header_that_is_too_long(target: Any) -> None:
    headers = {"x-request-id": "i" * 10_000}
    target.refused(target.post(target.request([1, 2, 3, 4]), headers), 400, "longer than 256")


@pytest.mark.parametrize("ident", ["", None])
def test_without_an_id_one_is_made(target: Any, ident: str | None) -> None:
    body = {"id": ident, **target.request([1, 2, 3, 4])}
    made = {target.post(body).json()["id"] for _ in range(20)}
    assert len(made) == 20
    assert all(len(one) == 36 for one in made)


@pytest.mark.parametrize("ident", [1, 1.5, True, [], {}])
def test_an_id_that_is_no_text(target: Any, ident: Any) -> None:
    target.refused(target.post({"id": ident, **target.request([1, 2, 3, 4])}), 400)


@pytest.mark.parametrize("value", [b"a\tb", b"\xff\xfe", b"a" * 256, b"%0d%0aX-Evil: 1", b"{}"])
def test_ids_in_headers(wire: ModuleType, target: Any, value: bytes) -> None:
    body = json.dumps(target.request([1, 2, 3, 4])).encode()
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nX-Request-Id: %b\r\n\r\n"
    reply = wire.exchange(target.instance.http_port, head % (URL.encode(), len(body), value) + body)
    if value == b"\xff\xfe" and target.differs("ids-in-utf-8"):
        assert reply.status == 400
        assert "UTF-8" in json.loads(reply.body)["error"]
        return
    assert reply.status == 200, reply.body
    assert json.loads(reply.body)["id"] == value.decode("latin-1")
    assert "x-evil" not in reply.headers


def test_the_body_wins_over_the_header(target: Any) -> None:
    answer = target.post(request(target, 1, "body"), {"x-request-id": "header"})
    assert answer.json()["id"] == answer.headers["x-request-id"] == "body"
