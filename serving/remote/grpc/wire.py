"""The gRPC wire. Tensors go into a message, and come out of one, without being re-encoded.

protobuf copies every `bytes` field on its way in and out. Large tensors are nearly all of a
message, so their fields are written and read here, and only the rest of it by protobuf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError, Message

from serving.channel.messages.inference import Passthrough
from serving.errors import InvalidInput
from serving.protocol.bytes_tensor import array_to_bytes
from serving.protocol.grpc.contents import decode_contents
from serving.protocol.grpc.parameters import encode_parameters
from serving.protocol.messages import Tensor
from serving.protocol.metadata import ModelMetadata, TensorMetadata
from serving.protocol.pb import open_inference_pb2 as pb
from serving.protocol.tensors import tensor_from_buffer
from serving.remote.wire import Answer, Inferred, Listed, Told, UpstreamCall, scalars, unreadable

SERVICE: Final = "/inference.GRPCInferenceService/"

_RAW_INPUT: Final = b"\x3a"  # field 7, bytes
_RAW_OUTPUT: Final = 0x32  # field 6, bytes
_BYTES, _VARINT, _FIXED64, _FIXED32 = 2, 0, 1, 5
_LONGEST_VARINT: Final = 10  # bytes: 7 bits of 64 in each
# Fields of Triton's ModelConfig that our own definition leaves out.
_SEQUENCE_BATCHING, _TRANSACTION_POLICY = 13, 19


class GrpcWire:
    """Speaks `inference.GRPCInferenceService`."""

    def infer(
        self, model: str, version: str, forward: Passthrough, inputs: Sequence[Tensor]
    ) -> UpstreamCall:
        """Ask for an inference, with raw contents."""
        message = pb.ModelInferRequest(model_name=model, model_version=version)
        encode_parameters(forward.parameters, message.parameters)
        parts: list[bytes | memoryview] = [b""]
        for tensor in inputs:
            given = message.inputs.add(
                name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
            )
            if tensor.name in forward.inputs:
                encode_parameters(forward.inputs[tensor.name], given.parameters)
            raw = _raw(tensor)
            parts += (_RAW_INPUT, _varint(len(raw)), raw)
        parts[0] = message.SerializeToString()
        return UpstreamCall(SERVICE + "ModelInfer", b"".join(parts))

    def read_infer(self, answer: Answer) -> Inferred:
        """Return the outputs; numbers are views on the answer."""
        try:
            rest, raw = _split(answer.body)
            message = pb.ModelInferResponse.FromString(rest)
            if raw and len(raw) != len(message.outputs):
                raise InvalidInput(f"{len(raw)} raw contents for {len(message.outputs)} outputs")
            tensors = [
                _tensor(output, raw[index] if raw else None)
                for index, output in enumerate(message.outputs)
            ]
            return Inferred(tensors, _parameters(message.parameters), message.model_version)
        except (DecodeError, InvalidInput, LookupError, ValueError) as error:
            raise unreadable("answer", error) from None

    def ready(self, model: str, version: str) -> UpstreamCall:
        """Ask whether a model is ready."""
        return _call("ModelReady", pb.ModelReadyRequest(name=model, version=version))

    def read_ready(self, answer: Answer) -> bool:
        """Return whether it is."""
        try:
            return pb.ModelReadyResponse.FromString(answer.body).ready
        except DecodeError as error:
            raise unreadable("answer", error) from None

    def metadata(self, model: str, version: str) -> UpstreamCall:
        """Ask for a model's inputs and outputs."""
        return _call("ModelMetadata", pb.ModelMetadataRequest(name=model, version=version))

    def read_metadata(self, answer: Answer) -> ModelMetadata:
        """Return them."""
        try:
            found = pb.ModelMetadataResponse.FromString(answer.body)
        except DecodeError as error:
            raise unreadable("metadata", error) from None
        inputs, outputs = (
            tuple(TensorMetadata(t.name, t.datatype, tuple(t.shape)) for t in tensors)
            for tensors in (found.inputs, found.outputs)
        )
        return ModelMetadata(found.name, tuple(found.versions), found.platform, inputs, outputs)

    def index(self) -> UpstreamCall:
        """Ask which models there are."""
        return _call("RepositoryIndex", pb.RepositoryIndexRequest())

    def read_index(self, answer: Answer) -> list[Listed]:
        """Return them."""
        try:
            found = pb.RepositoryIndexResponse.FromString(answer.body)
        except DecodeError as error:
            raise unreadable("index", error) from None
        return [Listed(m.name, m.version, m.state, m.reason) for m in found.models]

    def config(self, model: str, version: str) -> UpstreamCall:
        """Ask for Triton's model configuration."""
        return _call("ModelConfig", pb.ModelConfigRequest(name=model, version=version))

    def read_config(self, answer: Answer) -> Told:
        """Return what matters of it; what our own message leaves out is read field by field."""
        try:
            found = pb.ModelConfigResponse.FromString(answer.body).config
            fields = dict(_fields(answer.body))
            inner = dict(_fields(bytes(fields.get(1, b""))))
            policy = dict(_fields(bytes(inner.get(_TRANSACTION_POLICY, b""))))
        except (DecodeError, LookupError, ValueError) as error:
            raise unreadable("model configuration", error) from None
        return Told(
            found.max_batch_size,
            tuple(given.name for given in found.input if given.optional),
            _SEQUENCE_BATCHING in inner,
            bool(policy),
        )


def _call(method: str, message: Message) -> UpstreamCall:
    return UpstreamCall(SERVICE + method, message.SerializeToString())


def _raw(tensor: Tensor) -> bytes | memoryview:
    if tensor.datatype == "BYTES":
        return array_to_bytes(tensor.data)
    data = np.ascontiguousarray(tensor.data)
    return data.reshape(-1).view(np.uint8).data if data.size else b""


def _tensor(output: pb.ModelInferResponse.InferOutputTensor, raw: memoryview | None) -> Tensor:
    name, datatype, shape = output.name, output.datatype, tuple(output.shape)
    parameters = _parameters(output.parameters) or None
    if raw is not None:
        return tensor_from_buffer(name, datatype, shape, raw, parameters)
    data = decode_contents(name, datatype, shape, output.contents)
    return Tensor(name, datatype, shape, data, parameters)


def _parameters(given: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    # Unlike a client's, a server's may have any name, and one without a value means nothing.
    choices = ((name, one, one.WhichOneof("parameter_choice")) for name, one in given.items())
    return scalars({name: getattr(one, choice) for name, one, choice in choices if choice})


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 7 * _LONGEST_VARINT, 7):
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("a number has no end")


def _split(data: bytes) -> tuple[bytes, list[memoryview]]:
    """Return a ModelInferResponse without its raw contents, and those as views on `data`."""
    view = memoryview(data)
    rest: list[memoryview] = []
    raw: list[memoryview] = []
    start = at = 0
    while at < len(data):
        begin = at
        tag, at = _read_varint(data, at)
        size, at = _skip(tag, data, at)
        if tag == _RAW_OUTPUT:
            rest.append(view[start:begin])
            raw.append(view[at : at + size])
            start = at + size
        at += size
    if at != len(data):
        raise ValueError("it ends within a field")
    rest.append(view[start:])
    return b"".join(rest), raw


def _skip(tag: int, data: bytes, at: int) -> tuple[int, int]:
    """Return the length of a field's value and where it begins."""
    kind = tag & 7
    if kind == _BYTES:
        return _read_varint(data, at)
    if kind == _VARINT:
        return _read_varint(data, at)[1] - at, at
    if kind in (_FIXED64, _FIXED32):
        return (8 if kind == _FIXED64 else 4), at
    raise ValueError(f"it has a field of the unknown kind {kind}")


def _fields(data: bytes) -> list[tuple[int, memoryview]]:
    """Return number and value of every field of a message."""
    found, at, view = [], 0, memoryview(data)
    while at < len(data):
        tag, at = _read_varint(data, at)
        size, at = _skip(tag, data, at)
        found.append((tag >> 3, view[at : at + size]))
        at += size
    if at != len(data):
        raise ValueError("it ends within a field")
    return found
