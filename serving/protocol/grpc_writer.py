"""ModelInfer answers, written around what stays the same: everything but ids and numbers."""

from __future__ import annotations

from typing import Final

from serving.protocol import grpc_codec
from serving.protocol.messages import InferRequest, InferResponse
from serving.protocol.pb.open_inference_pb2 import ModelInferResponse
from serving.protocol.recent import Recent
from serving.protocol.tensors import tensor_to_buffer

_ID: Final = b"\x1a"
_RAW_OUTPUT: Final = b"\x32"
_MOST_SHAPES: Final = 256

_Key = tuple[tuple[str, str, tuple[int, ...]], ...]


class ResponseWriter:
    """Writes ModelInfer answers; what the outputs are called is written once per shape."""

    def __init__(self) -> None:
        self._known: Recent[tuple[str, str, _Key], tuple[bytes, bytes]] = Recent(_MOST_SHAPES)

    def write(self, response: InferResponse, request: InferRequest) -> bytes:
        """Return the bytes of the answer, raw or typed as `grpc_codec.encode_response` does."""
        outputs = response.outputs
        if (
            response.parameters
            or any(tensor.parameters for tensor in outputs)
            or not grpc_codec.answers_raw(request)
        ):
            message = grpc_codec.encode_response(response, request)
            slow: bytes = message.SerializeToString()
            return slow
        shapes = tuple([(tensor.name, tensor.datatype, tensor.shape) for tensor in outputs])
        key = (response.model_name, response.model_version, shapes)
        known = self._known[key]
        if known is None:
            known = self._learn(key)
        ident = response.id.encode()
        parts: list[bytes | memoryview] = [known[0], _ID, _varint(len(ident)), ident, known[1]]
        for tensor in outputs:
            buffer = tensor_to_buffer(tensor)
            parts += (_RAW_OUTPUT, _varint(len(buffer)), buffer)
        return b"".join(parts)

    def _learn(self, key: tuple[str, str, _Key]) -> tuple[bytes, bytes]:
        name, version, shapes = key
        first = ModelInferResponse(model_name=name, model_version=version)
        described = ModelInferResponse()
        for output, datatype, shape in shapes:
            described.outputs.add(name=output, datatype=datatype, shape=shape)
        known = (first.SerializeToString(), described.SerializeToString())
        self._known[key] = known
        return known


_SMALL: Final = [bytes((number,)) for number in range(128)]


def _varint(number: int) -> bytes:
    """Return a protobuf varint."""
    if number < 128:
        return _SMALL[number]
    digits = bytearray()
    while number >= 128:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)
