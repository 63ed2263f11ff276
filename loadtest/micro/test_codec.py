"""How long it takes to read requests and to write answers, on one core, without a network."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from loadtest import mlp
from serving.protocol.grpc import codec as grpc_codec
from serving.protocol.grpc import reader as grpc_reader
from serving.protocol.json import reader as json_reader
from serving.protocol.json.codec import decode_request, encode_response
from serving.protocol.messages import InferResponse, Tensor
from serving.protocol.pb.open_inference_pb2 import ModelInferRequest

_IMAGE = (1, 3, 224, 224)


def _response(rows: int = 1) -> InferResponse:
    output = np.full((rows, 2), 0.25, np.float32)
    return InferResponse(mlp.MODEL, "1", "id", (Tensor(mlp.OUTPUT, "FP32", output.shape, output),))


@pytest.mark.parametrize("rows", [1, 64])
def test_read_json(benchmark: Any, rows: int) -> None:
    body = mlp.json_body(mlp.rows(rows)).data
    request = benchmark(decode_request, body, None, mlp.MODEL, "")
    assert request.inputs[0].shape == (rows, mlp.WIDTHS[0])


@pytest.mark.parametrize("rows", [1, 64])
def test_read_json_of_a_known_form(benchmark: Any, rows: int) -> None:
    """As the gateway reads it: every body has an id and numbers of its own."""
    reader = json_reader.RequestReader()
    bodies = [
        b'{"id":"%d",%b' % (number, mlp.json_body(mlp.rows(rows, number)).data[1:])
        for number in range(32)
    ]
    each = itertools.cycle(bodies)
    request = benchmark(lambda: reader.read(next(each), None, mlp.MODEL, ""))
    assert request.inputs[0].shape == (rows, mlp.WIDTHS[0])


@pytest.mark.parametrize("rows", [1, 64])
def test_write_json(benchmark: Any, rows: int) -> None:
    request = decode_request(mlp.json_body(mlp.rows(1)).data, None, mlp.MODEL, "")
    body, _ = benchmark(encode_response, _response(rows), request)
    assert b"0.25" in body


def test_read_binary_image(benchmark: Any) -> None:
    image = np.zeros(_IMAGE, np.float32)
    head = (
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3,224,224],'
        b'"parameters":{"binary_data_size":%d}}]}' % image.nbytes
    )
    request = benchmark(decode_request, head + image.tobytes(), len(head), "m", "")
    assert request.inputs[0].shape == _IMAGE


@pytest.mark.parametrize("rows", [1, 64])
def test_read_grpc(benchmark: Any, rows: int) -> None:
    payload = mlp.grpc_message(mlp.rows(rows))

    def read() -> Any:
        return grpc_codec.decode_request(grpc_codec.parse_request(payload))

    assert benchmark(read).inputs[0].shape == (rows, mlp.WIDTHS[0])


@pytest.mark.parametrize("rows", [1, 64])
def test_read_grpc_of_a_known_form(benchmark: Any, rows: int) -> None:
    """As the gateway reads it: every message has an id and numbers of its own."""
    reader = grpc_reader.RequestReader()
    each = itertools.cycle(
        [mlp.grpc_message(mlp.rows(rows, number), str(number)) for number in range(32)]
    )
    request = benchmark(lambda: reader.read(next(each)))
    assert request.inputs[0].shape == (rows, mlp.WIDTHS[0])


def test_write_grpc(benchmark: Any) -> None:
    request = grpc_codec.decode_request(ModelInferRequest.FromString(mlp.grpc_message(mlp.rows(1))))

    def write() -> bytes:
        answer: bytes = grpc_codec.encode_response(_response(), request).SerializeToString()
        return answer

    assert benchmark(write)
