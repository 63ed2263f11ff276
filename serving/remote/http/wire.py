"""The HTTP wire: JSON, with tensors in binary where the server has that extension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec
import orjson

from serving.channel.messages.inference import Passthrough
from serving.errors import InvalidInput
from serving.protocol.json.data import UNREADABLE, decode_data, encode_data
from serving.protocol.messages import Tensor
from serving.protocol.metadata import ModelMetadata, TensorMetadata
from serving.protocol.parameters import is_base64
from serving.protocol.tensors import tensor_from_buffer, tensor_to_buffer
from serving.remote.wire import Answer, Inferred, Listed, Told, UpstreamCall, scalars, unreadable

LENGTH: Final = "Inference-Header-Content-Length"


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: msgspec.Raw = msgspec.Raw(b"")
    parameters: dict[str, Any] | None = None


class _Answer(msgspec.Struct):
    outputs: list[_Output]
    parameters: dict[str, Any] | None = None
    model_version: Any = None


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: tuple[int, ...]


class _Metadata(msgspec.Struct):
    name: str
    versions: list[str] | None = None
    platform: str = ""
    inputs: list[_Tensor] | None = None
    outputs: list[_Tensor] | None = None


class _Input(msgspec.Struct):
    name: str
    optional: bool = False


class _Policy(msgspec.Struct, frozen=True):
    decoupled: bool = False


class _Config(msgspec.Struct):
    max_batch_size: int = 0
    input: list[_Input] = []
    sequence_batching: dict[str, Any] | None = None
    model_transaction_policy: _Policy = _Policy()


class _Listed(msgspec.Struct):
    name: str
    version: str | None = None
    state: str | None = None
    reason: str | None = None


class HttpWire:
    """Speaks the protocol's HTTP half.

    Args:
        binary: whether the server has the extension `binary_tensor_data`.
    """

    def __init__(self, binary: bool) -> None:
        self._binary = binary

    def infer(
        self, model: str, version: str, forward: Passthrough, inputs: Sequence[Tensor]
    ) -> UpstreamCall:
        """Ask for an inference."""
        buffers: list[bytes | memoryview] = []
        described = []
        for tensor in inputs:
            parameters = dict(forward.inputs.get(tensor.name, ()))
            one: dict[str, Any] = {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": tensor.shape,
            }
            if self._binary:
                buffers.append(tensor_to_buffer(tensor))
                parameters["binary_data_size"] = len(buffers[-1])
            else:
                one["data"] = encode_data(tensor, is_base64(parameters))
            described.append({**one, "parameters": parameters} if parameters else one)
        body: dict[str, Any] = {"inputs": described}
        parameters = dict(forward.parameters)
        if self._binary:
            parameters["binary_data_output"] = True
        if parameters:
            body["parameters"] = parameters
        text = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        path = _path(model, version) + "/infer"
        if not self._binary:
            return UpstreamCall(path, text, {"Content-Type": "application/json"})
        headers = {"Content-Type": "application/octet-stream", LENGTH: str(len(text))}
        return UpstreamCall(path, b"".join((text, *buffers)), headers)

    def read_infer(self, answer: Answer) -> Inferred:
        """Return the outputs; those in binary are views on the answer."""
        length = len(answer.body) if answer.json_length is None else answer.json_length
        rest = memoryview(answer.body)[length:]
        tensors = []
        try:
            read = msgspec.json.decode(answer.body[:length], type=_Answer)
            for output in read.outputs:
                tensor, rest = _tensor(output, rest)
                tensors.append(tensor)
            if rest:
                raise InvalidInput(f"{len(rest)} bytes are left after the last binary output")
        except (*UNREADABLE, InvalidInput, TypeError, ValueError) as error:
            raise unreadable("answer", error) from None
        told = read.model_version
        version = str(told) if isinstance(told, str | int) else ""
        return Inferred(tensors, scalars(read.parameters), version)

    def ready(self, model: str, version: str) -> UpstreamCall:
        """Ask whether a model is ready; every answer that is no error says yes."""
        return UpstreamCall(_path(model, version) + "/ready")

    def read_ready(self, answer: Answer) -> bool:
        """Return whether it is; KServe says so in the body."""
        return b'"ready":false' not in answer.body.replace(b" ", b"").lower()

    def metadata(self, model: str, version: str) -> UpstreamCall:
        """Ask for a model's inputs and outputs."""
        return UpstreamCall(_path(model, version))

    def read_metadata(self, answer: Answer) -> ModelMetadata:
        """Return them."""
        found = _decode(answer, _Metadata, "metadata")
        inputs, outputs = (
            tuple(TensorMetadata(t.name, t.datatype, t.shape) for t in tensors or ())
            for tensors in (found.inputs, found.outputs)
        )
        return ModelMetadata(
            found.name, tuple(found.versions or ()), found.platform, inputs, outputs
        )

    def index(self) -> UpstreamCall:
        """Ask which models there are."""
        return UpstreamCall("/v2/repository/index", b"{}", {"Content-Type": "application/json"})

    def read_index(self, answer: Answer) -> list[Listed]:
        """Return them."""
        return [
            Listed(m.name, m.version or "", m.state or "", m.reason or "")
            for m in _decode(answer, list[_Listed], "index")
        ]

    def config(self, model: str, version: str) -> UpstreamCall:
        """Ask for Triton's model configuration."""
        return UpstreamCall(_path(model, version) + "/config")

    def read_config(self, answer: Answer) -> Told:
        """Return what matters of it."""
        found = _decode(answer, _Config, "model configuration")
        return Told(
            found.max_batch_size,
            tuple(given.name for given in found.input if given.optional),
            found.sequence_batching is not None,
            found.model_transaction_policy.decoupled,
        )


def _tensor(output: _Output, rest: memoryview) -> tuple[Tensor, memoryview]:
    """Return an output, and what of the bytes after the JSON part belongs to those behind it."""
    name, datatype, shape = output.name, output.datatype, output.shape
    parameters = dict(output.parameters or {})
    size = parameters.pop("binary_data_size", None)
    kept = scalars(parameters) or None
    if size is None:
        data = decode_data(name, datatype, shape, output.data, is_base64(kept))
        return Tensor(name, datatype, shape, data, kept), rest
    _check_size(output, size, len(rest))
    return tensor_from_buffer(name, datatype, shape, rest[:size], kept), rest[size:]


def _check_size(output: _Output, size: object, left: int) -> None:
    # Slices would take other numbers too, and cut others' bytes off or too few of its own.
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise InvalidInput(f"binary_data_size of '{output.name}' is no number of bytes")
    if bytes(output.data):
        raise InvalidInput(f"output '{output.name}' has both data and binary_data_size")
    if size > left:
        raise InvalidInput(
            f"output '{output.name}' has binary_data_size {size}, but only {left} bytes are left"
        )


def _path(model: str, version: str) -> str:
    path = f"/v2/models/{quote(model, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path


def _decode(answer: Answer, kind: Any, what: str) -> Any:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except UNREADABLE as error:
        raise unreadable(what, error) from None
