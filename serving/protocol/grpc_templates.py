"""ModelInfer messages that differ from the one before in their numbers only.

What a client sends again and again has the same bytes up to its raw contents, which come last.
Then nothing needs to be parsed: what those bytes mean is known. Answers are written likewise.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np
from google.protobuf.message import DecodeError

from serving.protocol import grpc_codec
from serving.protocol.datatypes import NUMPY_OF
from serving.protocol.ids import new_request_id
from serving.protocol.messages import (
    InferRequest,
    InferResponse,
    Parameters,
    RequestedOutput,
    Tensor,
)
from serving.protocol.pb.open_inference_pb2 import ModelInferRequest, ModelInferResponse
from serving.protocol.tensors import tensor_to_buffer

_RAW_INPUT: Final = b"\x3a"
_ID: Final = b"\x1a"
_RAW_OUTPUT: Final = b"\x32"
_MOST_SHAPES: Final = 256
_LONGEST_PREFIX: Final = 4096
_GIVE_UP: Final = 64
"""Messages in a row that were not like the one before, after which nothing is kept any more."""


class _Template(msgspec.Struct, frozen=True):
    """What the bytes before the raw contents say."""

    model_name: str
    model_version: str
    id: str
    name: str
    datatype: str
    dtype: np.dtype
    shape: tuple[int, ...]
    tensor_parameters: Parameters | None
    outputs: tuple[RequestedOutput, ...]
    parameters: Parameters | None


class RequestReader:
    """Reads the ModelInfer messages of one connection."""

    def __init__(self) -> None:
        self._prefix = b""
        self._size = -1
        self._template: _Template | None = None
        self._misses = 0

    def read(self, payload: bytes) -> InferRequest:
        """Return the request in `payload`.

        Raises:
            InvalidInput, Unsupported: as for `grpc_codec.decode_request`.
        """
        template = self._template
        if template is not None and len(payload) == self._size and payload.startswith(self._prefix):
            self._misses = 0
            data: np.ndarray = np.ndarray(
                template.shape, template.dtype, payload, len(self._prefix)
            )
            tensor = Tensor(
                template.name, template.datatype, template.shape, data, template.tensor_parameters
            )
            return InferRequest(
                template.model_name,
                template.model_version,
                template.id or new_request_id(),
                (tensor,),
                template.outputs,
                template.parameters,
            )
        message = grpc_codec.parse_request(payload)
        request = grpc_codec.decode_request(message)
        if self._misses < _GIVE_UP:
            self._misses += 1
            self._remember(payload, message, request)
        return request

    def _remember(self, payload: bytes, message: ModelInferRequest, request: InferRequest) -> None:
        self._template = None
        raw = message.raw_input_contents
        tensor = request.inputs[0]
        # A BOOL must be looked at, and BYTES have no fixed size.
        if len(raw) != 1 or tensor.datatype in ("BOOL", "BYTES"):
            return
        tail = _RAW_INPUT + _varint(len(raw[0]))
        size = len(payload) - len(raw[0])
        prefix = payload[:size]
        if size > _LONGEST_PREFIX or not prefix.endswith(tail):
            return
        # Messages may be concatenated: if what comes before the contents is a message by itself,
        # then the contents are just these last bytes, whatever they are.
        try:
            before = ModelInferRequest.FromString(prefix[: -len(tail)])
        except DecodeError:
            return
        if before.raw_input_contents:
            return
        dtype = NUMPY_OF[tensor.datatype]
        if math.prod(tensor.shape) * dtype.itemsize != len(raw[0]):
            return
        self._prefix = prefix
        self._size = len(payload)
        self._template = _Template(
            request.model_name,
            request.model_version,
            message.id,
            tensor.name,
            tensor.datatype,
            dtype,
            tensor.shape,
            tensor.parameters,
            request.outputs,
            request.parameters,
        )


_Key = tuple[tuple[str, str, tuple[int, ...]], ...]


class ResponseWriter:
    """Writes ModelInfer answers; what the outputs are called is written once per shape."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, _Key], tuple[bytes, bytes]] = {}

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
        known = self._known.get(key)
        if known is None:
            known = self._learn(key)
        ident = response.id.encode()
        parts: list[bytes | memoryview] = [known[0], _ID, _varint(len(ident)), ident, known[1]]
        for tensor in outputs:
            buffer = tensor_to_buffer(tensor)
            parts += (_RAW_OUTPUT, _varint(len(buffer)), buffer)
        return b"".join(parts)

    def _learn(self, key: tuple[str, str, _Key]) -> tuple[bytes, bytes]:
        if len(self._known) >= _MOST_SHAPES:
            self._known.clear()
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
