"""ModelInfer answers, written around what stays the same: everything but ids and numbers."""

from __future__ import annotations

from typing import Final

from serving.protocol.grpc import codec as grpc_codec
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
        """Return the bytes of the answer, raw or typed as `grpc.codec.encode_response` does."""
        asks = request.parameters or request.outputs
        if response.parameters or (asks and not grpc_codec.answers_raw(request)):
            return _by_library(response, request)
        shapes = []
        raw: list[bytes | memoryview] = []
        for tensor in response.outputs:
            if tensor.parameters:
                return _by_library(response, request)
            shapes.append((tensor.name, tensor.datatype, tensor.shape))
            buffer = tensor_to_buffer(tensor)
            size = len(buffer)
            raw += (_RAW_OUTPUT, _SMALL[size] if size < 128 else _varint(size), buffer)
        key = (response.model_name, response.model_version, tuple(shapes))
        before, behind = self._known[key] or self._learn(key)
        ident = response.id.encode()
        size = len(ident)
        length = _SMALL[size] if size < 128 else _varint(size)
        return b"".join((before, _ID, length, ident, behind, *raw))

    def _learn(self, key: tuple[str, str, _Key]) -> tuple[bytes, bytes]:
        name, version, shapes = key
        first = ModelInferResponse(model_name=name, model_version=version)
        described = ModelInferResponse()
        for output, datatype, shape in shapes:
            described.outputs.add(name=output, datatype=datatype, shape=shape)
        known = (first.SerializeToString(), described.SerializeToString())
        self._known[key] = known
        return known


def _by_library(response: InferResponse, request: InferRequest) -> bytes:
    message: bytes = grpc_codec.encode_response(response, request).SerializeToString()
    return message


_SMALL: Final = [bytes((number,)) for number in range(128)]


def _varint(number: int) -> bytes:
    """Return a number as protobuf writes it; those below 128 are in `_SMALL`."""
    digits = bytearray()
    while number >= 128:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)
