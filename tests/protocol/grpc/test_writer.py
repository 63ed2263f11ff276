"""ModelInfer answers are the library's bytes."""

from __future__ import annotations

import numpy as np
import pytest

from serving.protocol.grpc import codec as grpc_codec
from serving.protocol.grpc.writer import ResponseWriter
from serving.protocol.messages import InferRequest, InferResponse, RequestedOutput, Tensor
from serving.protocol.pb.open_inference_pb2 import ModelInferResponse


@pytest.mark.parametrize("rows", [1, 5, 2000])
@pytest.mark.parametrize("ident", ["", "a", "é" * 100])
def test_answers_are_the_library_s_bytes(rows: int, ident: str) -> None:
    writer = ResponseWriter()
    request = InferRequest("m", "", ident, ())
    for value in (0.0, 1.5):
        outputs = (
            Tensor("y", "FP32", (rows, 2), np.full((rows, 2), value, np.float32)),
            Tensor("label", "BYTES", (1,), np.array([b"cat"], object)),
        )
        response = InferResponse("m", "3", ident, outputs)
        written = writer.write(response, request)
        library = grpc_codec.encode_response(response, request)
        assert ModelInferResponse.FromString(written) == library
        if ident:
            assert written == library.SerializeToString()


def test_answers_with_parameters_or_typed_contents_go_through_the_library() -> None:
    writer = ResponseWriter()
    outputs = (Tensor("y", "FP32", (1, 2), np.ones((1, 2), np.float32)),)
    typed = (RequestedOutput("y", {"binary_data": False}),)
    for asked in ((), typed):
        request = InferRequest("m", "", "a", (), asked)
        for parameters in (None, {"vigil_flags": "schema"}):
            response = InferResponse("m", "3", "a", outputs, parameters)
            expected = grpc_codec.encode_response(response, request)
            assert writer.write(response, request) == expected.SerializeToString()
            assert bool(expected.raw_output_contents) is not bool(asked)


def test_shapes_that_are_kept_are_bounded() -> None:
    writer = ResponseWriter()
    request = InferRequest("m", "", "a", ())
    for rows in range(1, 1000):
        outputs = (Tensor("y", "FP32", (rows,), np.zeros(rows, np.float32)),)
        assert writer.write(InferResponse("m", "3", "a", outputs), request)
    assert writer._known.kept <= 512
