"""What clients accept, and when an answer is compressed for them."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serving.gateway.http import compression
from serving.gateway.http.compression import OFF_LOOP, WORTH_IT, choose, pack, pays
from serving.gateway.http.routes import ROUTES
from serving.protocol.messages import Tensor
from serving.protocol.pb import open_inference_pb2 as pb

INFER = "/v2/models/m/infer"
SERVICE = "/inference.GRPCInferenceService/"
UNPACK = {"gzip": gzip.decompress, "deflate": zlib.decompress}


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("gzip", ("gzip", True)),
        ("deflate", ("deflate", True)),
        ("gzip, deflate, br, zstd", ("gzip", True)),
        ("deflate, gzip", ("gzip", True)),
        ("gzip;q=0.5, deflate;q=0.8", ("deflate", True)),
        ("GZIP ; Q=1.0", ("gzip", True)),
        ("x-gzip", ("gzip", True)),
        ("*", ("gzip", True)),
        ("*;q=0.3, gzip;q=0", ("deflate", True)),
        ("gzip;q=0", (None, True)),
        ("br", (None, True)),
        ("", (None, True)),
        ("identity", (None, True)),
        ("identity, gzip;q=0.5", (None, True)),
        ("identity;q=0.5, gzip", ("gzip", True)),
        ("identity;q=0, gzip", ("gzip", False)),
        ("identity;q=0", (None, False)),
        ("*;q=0", (None, False)),
        ("*;q=0, deflate", ("deflate", False)),
        ("gzip;q=nonsense", (None, True)),
        ("gzip;q=nan", (None, True)),
        ("gzip;q=7", (None, True)),
        (";;,,;q=;=,\xff", (None, True)),
    ],
)
def test_what_a_client_accepts(header: str, chosen: Any) -> None:
    assert choose(header.encode("latin-1")) == chosen


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("size", [WORTH_IT, OFF_LOOP - 1, OFF_LOOP, 300_000])
async def test_pack(encoding: str, size: int) -> None:
    packed = await pack(bytes(size), encoding)
    assert packed is not None
    assert UNPACK[encoding](packed) == bytes(size)


async def test_noise_stays_as_it_is() -> None:
    assert await pack(np.random.default_rng(0).bytes(10_000), "gzip") is None


def tensor(datatype: str, *shape: int) -> Tensor:
    return Tensor("y", datatype, shape, np.empty(0))  # nobody looks at the elements


@pytest.mark.parametrize(
    ("size", "binary", "worth"),
    [
        (WORTH_IT - 1, [], False),
        (WORTH_IT, [], True),
        (8200, [tensor("FP32", 1000, 2)], False),
        (4200, [tensor("FP16", 1000, 2)], False),
        (4200, [tensor("BF16", 2000)], False),
        (8200, [tensor("FP64", 1000)], False),
        (8200, [tensor("INT64", 1000)], True),
        (8200, [tensor("BYTES", 400)], True),
        (8200, [tensor("FP32", 1000), tensor("INT32", 1000)], True),
        (8200, [tensor("FP32", 1500), tensor("INT32", 500)], False),
        (8200, [tensor("FP32", 0), tensor("BOOL", 8000)], True),
    ],
)
def test_what_is_worth_it(size: int, binary: list[Tensor], worth: bool) -> None:
    assert pays(size, binary) is worth


@pytest.mark.parametrize(("size", "here"), [(OFF_LOOP - 1, True), (OFF_LOOP, False)])
async def test_large_bodies_leave_the_loop_alone(
    monkeypatch: pytest.MonkeyPatch, size: int, here: bool
) -> None:
    threads: list[int] = []
    real: Callable[..., bytes] = compression._compress

    def spied(body: bytes, encoding: str) -> bytes:
        threads.append(threading.get_ident())
        return real(body, encoding)

    monkeypatch.setattr(compression, "_compress", spied)
    await pack(bytes(size), "gzip")
    assert (threads == [threading.get_ident()]) is here


# -- HTTP -------------------------------------------------------------------------------------


def body(rows: int, **more: Any) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 2], "data": [1.5] * 2 * rows}
    return json.dumps({"inputs": [tensor], "id": "a", **more}).encode()


def binary(**more: Any) -> dict[str, Any]:
    return {"outputs": [{"name": "y", "parameters": {"binary_data": True, **more}}]}


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("more", [{}, binary(classification=2)], ids=["json", "binary"])
async def test_large_answers_are_compressed(ask: Any, encoding: str, more: Any) -> None:
    plain = await ask("POST", INFER, body(900, **more))
    answer = await ask("POST", INFER, body(900, **more), [("accept-encoding", encoding)])
    assert "vary" not in plain.headers
    assert answer.headers["content-encoding"] == encoding
    assert answer.headers["vary"] == "accept-encoding"
    assert UNPACK[encoding](answer.body) == plain.body
    assert len(answer.body) < len(plain.body) / 2
    # The header is about the body before compression, as Triton has it.
    for name in ("content-type", "inference-header-content-length", "x-request-id"):
        assert answer.headers.get(name) == plain.headers.get(name)


@pytest.mark.parametrize(
    ("rows", "header", "encoding", "varies"),
    [
        (2, "gzip", None, None),
        (900, "br", None, "accept-encoding"),
        (900, "gzip;q=0", None, "accept-encoding"),
        (2, "identity;q=0, gzip", "gzip", "accept-encoding"),
        (2, "identity;q=0, br", None, None),
    ],
)
async def test_answers_that_stay_as_they_are(
    ask: Any, rows: int, header: str, encoding: str | None, varies: str | None
) -> None:
    answer = await ask("POST", INFER, body(rows), [("accept-encoding", header)])
    assert answer.status == 200
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers.get("vary") == varies


async def test_floats_in_binary_stay_as_they_are(ask: Any) -> None:
    answer = await ask("POST", INFER, body(900, **binary()), [("accept-encoding", "gzip")])
    assert "content-encoding" not in answer.headers
    assert "vary" not in answer.headers
    assert len(answer.body) > WORTH_IT


@pytest.mark.parametrize("path", ROUTES)
async def test_only_inferences_are_compressed(
    ask: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tritonclient's asyncio client cannot read anything else that is compressed."""
    monkeypatch.setattr(compression, "WORTH_IT", 1)
    for method in ROUTES[path]:
        named = path.format(name="m", version="1", report="drift", prediction="r", incident="i")
        content = body(900) if "infer" in path else b""
        answer = await ask(method, named, content, [("accept-encoding", "gzip, deflate")])
        assert answer.body
        assert ("content-encoding" in answer.headers) is path.endswith("/infer"), answer


async def test_refusals_are_never_compressed(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "WORTH_IT", 1)
    answer = await ask("POST", "/v2/models/q/infer", body(2), [("accept-encoding", "gzip")])
    assert "unknown model" in answer.json()["error"]


async def test_who_takes_nothing_plain_gets_everything_packed(ask: Any) -> None:
    headers = [("accept-encoding", "identity;q=0, gzip"), ("content-encoding", "deflate")]
    answer = await ask("POST", "/v2/repository/index", zlib.compress(b'{"ready":true}'), headers)
    (model,) = json.loads(gzip.decompress(answer.body))
    assert model["name"] == "m"
    answer = await ask("GET", "/v2/models/q", headers=headers[:1])
    assert answer.status == 404
    assert "unknown model" in json.loads(gzip.decompress(answer.body))["error"]


async def test_head_has_the_headers_of_get(ask: Any) -> None:
    headers = [("accept-encoding", "identity;q=0, gzip")]
    head, get = await ask("HEAD", "/v2", headers=headers), await ask("GET", "/v2", headers=headers)
    assert head.body == b""
    assert head.headers == get.headers
    assert int(head.headers["content-length"]) == len(get.body)


# -- gRPC -------------------------------------------------------------------------------------


def message(rows: int, classes: int = 0) -> bytes:
    request = pb.ModelInferRequest(model_name="m", id="mine")
    request.outputs.add(name="y").parameters["classification"].int64_param = classes
    request.inputs.add(name="x", datatype="FP32", shape=[rows, 2])
    request.raw_input_contents.append(np.ones((rows, 2), np.float32).tobytes())
    return request.SerializeToString()


def frame(payload: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(payload).to_bytes(4, "big") + payload


async def call(ask: Any, method: str, content: bytes, *headers: tuple[str, str]) -> Any:
    headers = (("content-type", "application/grpc"), *headers)
    answer = await ask("POST", SERVICE + method, content, headers)
    assert answer.trailers == {"grpc-status": "0"}
    return answer


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer"])
@pytest.mark.parametrize("accepted", [None, "identity, deflate, gzip", "gzip,deflate"])
async def test_a_client_that_compresses_gets_compressed_answers(
    ask: Any, encoding: str, method: str, accepted: str | None
) -> None:
    headers = [("grpc-encoding", encoding)]
    if accepted is not None:
        headers.append(("grpc-accept-encoding", accepted))
    plain = await call(ask, method, frame(message(1000, classes=2)))
    answer = await call(ask, method, frame(message(1000, classes=2)), *headers)
    assert "grpc-encoding" not in plain.headers
    assert answer.headers["grpc-encoding"] == encoding
    assert (plain.body[0], answer.body[0]) == (0, 1)
    assert int.from_bytes(answer.body[1:5], "big") == len(answer.body) - 5
    assert UNPACK[encoding](answer.body[5:]) == plain.body[5:]


@pytest.mark.parametrize(
    ("rows", "classes", "headers"),
    [
        (1000, 2, [("grpc-accept-encoding", "gzip")]),
        (1000, 2, [("grpc-encoding", "identity"), ("grpc-accept-encoding", "gzip")]),
        (1000, 2, [("grpc-encoding", "gzip"), ("grpc-accept-encoding", "identity")]),
        (2, 2, [("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip")]),
        # Floats, which hardly get any smaller.
        (1000, 0, [("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip")]),
    ],
)
@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer"])
async def test_messages_that_stay_as_they_are(
    ask: Any, method: str, rows: int, classes: int, headers: Any
) -> None:
    answer = await call(ask, method, frame(message(rows, classes)), *headers)
    assert answer.body[0] == 0
    assert int.from_bytes(answer.body[1:5], "big") == len(answer.body) - 5


@pytest.mark.parametrize("method", ["ModelStatistics", "ServerMetadata", "ModelConfig"])
async def test_other_messages_stay_as_they_are(
    ask: Any, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "WORTH_IT", 1)
    content = pb.ModelConfigRequest(name="m") if method == "ModelConfig" else pb.ServerLiveRequest()
    answer = await call(ask, method, frame(content.SerializeToString()), ("grpc-encoding", "gzip"))
    assert answer.body[0] == 0


async def test_an_encoding_that_is_not_known(ask: Any) -> None:
    headers = [("content-type", "application/grpc"), ("grpc-encoding", "br")]
    answer = await ask("POST", SERVICE + "ModelInfer", frame(b"x", 1), headers)
    assert answer.trailers["grpc-status"] == "12"
    assert answer.headers["grpc-accept-encoding"] == "gzip,deflate,identity"


async def test_many_large_answers_at_once(ask: Any) -> None:
    """Threads must not mix them up."""
    answers = await asyncio.gather(
        *[ask("POST", INFER, body(900 - n), [("accept-encoding", "gzip")]) for n in range(4)]
    )
    shapes = [json.loads(gzip.decompress(a.body))["outputs"][0]["shape"] for a in answers]
    assert shapes == [[900 - n, 2] for n in range(4)]
