"""Unary gRPC over ASGI: frames, deadlines, compression, and statuses that any text survives."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from serving import errors
from serving.protocol.pb import open_inference_pb2 as pb

SERVICE = "/inference.GRPCInferenceService/"
GRPC = ("content-type", "application/grpc")
LIMIT = 10_000


def frame(payload: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(payload).to_bytes(4, "big") + payload


def infer(model: str = "m") -> bytes:
    message = pb.ModelInferRequest(model_name=model, id="mine")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    message.raw_input_contents.append(np.array([3, 4], np.float32).tobytes())
    return message.SerializeToString()


async def call(ask: Any, method: str, body: Any, *headers: tuple[str, str]) -> Any:
    return await ask("POST", SERVICE + method, body, [GRPC, *headers])


def status(answer: Any) -> tuple[int, str]:
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/grpc"
    return int(answer.trailers["grpc-status"]), unquote(answer.trailers.get("grpc-message", ""))


@pytest.mark.parametrize("size", [0, 1, 5, 6])
async def test_infer(ask: Any, size: int) -> None:
    whole = frame(infer())
    chunks = [whole[at : at + size] for at in range(0, len(whole), size)] if size else whole
    answer = await call(ask, "ModelInfer", chunks)
    assert status(answer) == (0, "")
    assert answer.body[0] == 0
    assert int.from_bytes(answer.body[1:5], "big") == len(answer.body) - 5
    reply = pb.ModelInferResponse.FromString(answer.body[5:])
    assert reply.id == "mine"
    assert np.frombuffer(reply.raw_output_contents[0], np.float32).tolist() == [6, 8]


OTHER_VERSION = pb.ModelReadyRequest(name="m", version="7")


@pytest.mark.parametrize(
    ("method", "request_", "reply", "field", "value"),
    [
        ("ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse, "live", True),
        ("ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse, "ready", True),
        ("ModelReady", pb.ModelReadyRequest(name="m"), pb.ModelReadyResponse, "ready", True),
        ("ModelReady", pb.ModelReadyRequest(name="q"), pb.ModelReadyResponse, "ready", False),
        ("ModelReady", OTHER_VERSION, pb.ModelReadyResponse, "ready", False),
        ("ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse, "name", "vigil"),
        ("ModelMetadata", pb.ModelMetadataRequest(name="m"), pb.ModelMetadataResponse, "name", "m"),
    ],
)
async def test_the_other_methods(
    ask: Any, method: str, request_: Any, reply: Any, field: str, value: Any
) -> None:
    answer = await call(ask, method, frame(request_.SerializeToString()))
    assert status(answer) == (0, "")
    assert getattr(reply.FromString(answer.body[5:]), field) == value


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
async def test_compressed_messages(ask: Any, encoding: str, pack: Any) -> None:
    answer = await call(ask, "ModelInfer", frame(pack(infer()), 1), ("grpc-encoding", encoding))
    assert status(answer) == (0, "")
    plain = await call(ask, "ModelInfer", frame(infer()), ("grpc-encoding", encoding))
    assert status(plain) == (0, "")


@pytest.mark.parametrize(
    ("body", "headers", "code", "words"),
    [
        (b"", [], 3, "no message"),
        (b"\0\0\0", [], 3, "no message"),
        (frame(infer())[:-1], [], 3, "exactly one message"),
        (frame(infer()) + b"\0", [], 3, "exactly one message"),
        (frame(infer()) * 2, [], 3, "exactly one message"),
        (frame(b"\xff\xff\xff"), [], 3, "protobuf"),
        (frame(infer(), 1), [], 3, "compressed without"),
        (frame(infer(), 1), [("grpc-encoding", "identity")], 3, "compressed without"),
        (frame(infer(), 2), [("grpc-encoding", "gzip")], 3, "compressed"),
        (frame(infer(), 1), [("grpc-encoding", "gzip")], 3, "not valid gzip"),
        (frame(infer(), 1), [("grpc-encoding", "br")], 12, "not supported"),
        (frame(zlib.compress(bytes(LIMIT * 9)), 1), [("grpc-encoding", "deflate")], 8, "limit"),
        (frame(bytes(LIMIT + 1)), [], 8, "limit"),
        (b"\0\xff\xff\xff\xff", [], 8, "limit"),
        ([frame(bytes(LIMIT))[:4], bytes(LIMIT), bytes(9)], [], 8, "limit"),
        ([frame(infer())[:9], None], [], 3, "went away"),
        (frame(infer()), [("grpc-timeout", "0m")], 4, "deadline"),
        (frame(infer("q")), [], 5, "unknown model"),
    ],
)
async def test_what_goes_wrong_is_a_status(
    ask: Any, body: Any, headers: Any, code: int, words: str
) -> None:
    got, message = status(await call(ask, "ModelInfer", body, *headers))
    assert got == code
    assert words in message


@pytest.mark.parametrize(
    ("value", "good"),
    [("5S", True), ("1510m", True), ("99999999H", True), ("99999999n", True), ("100000u", True),
     ("1M", True), ("", False), ("5", False), ("S", False), ("-5S", False), ("1.5S", False),
     ("999999999S", False), ("5s", False), ("+5S", False), ("\xb2S", False), ("5 S", False)],
)  # fmt: skip
async def test_timeouts(ask: Any, value: str, good: bool) -> None:
    code, message = status(await call(ask, "ModelInfer", frame(infer()), ("grpc-timeout", value)))
    assert code == (0 if good else 3), message


async def test_a_deadline_is_kept(ask: Any, link: Any) -> None:
    link.hold = asyncio.Event()
    answer = await call(ask, "ModelInfer", frame(infer()), ("grpc-timeout", "20m"))
    assert status(answer)[0] == 4
    link.hold.set()
    await asyncio.sleep(0)


@pytest.mark.parametrize("path", ["Nothing", "", "ModelInfer/"])
async def test_unknown_methods(ask: Any, path: str) -> None:
    code, message = status(await call(ask, path, frame(b"")))
    assert code == 12
    assert "unknown gRPC method" in message


@pytest.mark.parametrize(
    "text", ["100 % \r\nevil: header", "\u00fcml\u00e4ut \u2603", "a\tb\0c", "back\\slash~", "%41"]
)
async def test_messages_are_percent_encoded(ask: Any, link: Any, text: str) -> None:
    link.error = errors.ModelFailed(text)
    answer = await call(ask, "ModelInfer", frame(infer()))
    # Control characters are escaped in every error; the rest survives the header as it is.
    shown = text.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t")
    assert status(answer) == (13, shown.replace("\0", "\\x00"))
    assert answer.trailers["grpc-message"].isascii()
    assert answer.trailers["grpc-message"].isprintable()


async def test_a_message_that_is_no_unicode_still_ends_the_call(ask: Any, link: Any) -> None:
    link.error = errors.ModelFailed("half a pair: \ud800")
    assert status(await call(ask, "ModelInfer", frame(infer())))[0] == 13


async def test_an_unexpected_error_tells_the_client_nothing(
    ask: Any, plane: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(plane.router, "choose", broken)
    answer = await call(ask, "ModelInfer", frame(infer()))
    assert status(answer) == (13, "internal error; see the server's log")
    assert "Traceback" in caplog.text
    assert caplog.records[-1].vigil_fields["error"] == "RuntimeError"
