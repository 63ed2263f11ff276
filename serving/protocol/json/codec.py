"""HTTP bodies to and from messages: plain JSON and the `binary_tensor_data` extension."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import orjson

from serving.errors import InvalidInput
from serving.protocol.bytes_tensor import object_array
from serving.protocol.ids import chosen_id
from serving.protocol.json.data import NATIVE, decode_data, encode_data, native
from serving.protocol.json.wire import (
    NO_DATA,
    Scalars,
    WireInput,
    WireOutput,
    WireRequest,
    read_request,
)
from serving.protocol.messages import (
    InferRequest,
    InferResponse,
    Parameters,
    RequestedOutput,
    Tensor,
)
from serving.protocol.metadata import TensorMetadata
from serving.protocol.names import refuse_twice
from serving.protocol.parameters import checked_parameters, is_base64
from serving.protocol.recent import Recent
from serving.protocol.tensors import check_input, tensor_from_buffer, tensor_to_buffer

_KEPT_HEADS = 256
_KEPT_BYTES = 1024
_RAW_PARAMETERS: Parameters = {"binary_data_output": True}


def parse_json_length(header: str, body_length: int) -> int:
    """Return the value of `Inference-Header-Content-Length` for a body of `body_length` bytes.

    Raises:
        InvalidInput: it is not a decimal number, or the body is shorter.
    """
    # int() alone would also take "+1", "1_0", blanks and numbers of any length.
    if not (header.isascii() and header.isdigit() and len(header) <= 20):
        raise InvalidInput("Inference-Header-Content-Length must be a number of bytes")
    length = int(header)
    if length > body_length:
        _check_json_length(length, body_length)
    return length


def _check_json_length(length: int, body_length: int) -> None:
    if not 0 <= length <= body_length:
        raise InvalidInput(
            f"Inference-Header-Content-Length is {length}, but the body has {body_length} bytes"
        )


def decode_request(
    body: bytes | memoryview,
    json_length: int | None,
    model_name: str,
    model_version: str,
    request_id: str | None = None,
) -> InferRequest:
    """Return the request in an HTTP body.

    `json_length` is the length of the JSON part when binary tensors follow it, `None` when
    all is JSON; for 0 see `decode_raw_request`. An id in the body wins over `request_id`.
    Tensors in binary are views on `body`.

    Raises:
        InvalidInput: anything in the body is wrong.
        Unsupported: a tensor is said to lie in shared memory.
    """
    if json_length is None:
        return decode_wire(read_request(bytes(body)), None, model_name, model_version, request_id)
    _check_json_length(json_length, len(body))
    wire = _read_head(bytes(body[:json_length]))
    rest = memoryview(body)[json_length:]
    return decode_wire(wire, rest, model_name, model_version, request_id)


def decode_wire(
    wire: WireRequest,
    rest: memoryview | None,
    model_name: str,
    model_version: str,
    request_id: str | None = None,
) -> InferRequest:
    """Return the request whose JSON part has been read; `rest` are the bytes behind it, if any.

    Raises:
        InvalidInput, Unsupported: as `decode_request`.
    """
    inputs: list[Tensor] = []
    for given in wire.inputs:
        tensor, rest = _decode_input(given, rest)
        inputs.append(tensor)
    if rest:
        raise InvalidInput(
            f"{len(rest)} bytes are left after the last binary tensor; check binary_data_size"
        )
    if len(inputs) > 1:
        refuse_twice("input", [tensor.name for tensor in inputs])
    return InferRequest(
        model_name,
        model_version,
        chosen_id(wire.id or None, request_id),
        tuple(inputs),
        decode_outputs(wire.outputs) if wire.outputs else (),
        checked_parameters(wire.parameters) if wire.parameters else None,
    )


_heads: Recent[bytes, WireRequest] = Recent(_KEPT_HEADS)
"""JSON parts without numbers, which clients of binary tensors send again and again."""


def _read_head(text: bytes) -> WireRequest:
    known = _heads[text]
    if known is None:
        known = read_request(text)
        if len(text) <= _KEPT_BYTES and all(given.data is NO_DATA for given in known.inputs):
            _heads[text] = known
    return known


def _decode_input(given: WireInput, rest: memoryview | None) -> tuple[Tensor, memoryview | None]:
    name, shape = given.name, given.shape
    if 0 in shape:
        check_input(name, shape)
    parameters: Parameters | None = None
    if given.parameters:
        parameters = checked_parameters(given.parameters)
        if parameters is not None and "binary_data_size" in parameters:
            return _decode_binary(given, parameters, rest)
    if given.data is NO_DATA:
        raise InvalidInput(f"input '{name}' has neither data nor binary_data_size")
    data = decode_data(name, given.datatype, shape, given.data, is_base64(parameters))
    return Tensor(name, given.datatype, shape, data, parameters), rest


def _decode_binary(
    given: WireInput, parameters: Parameters, rest: memoryview | None
) -> tuple[Tensor, memoryview]:
    size: int = parameters["binary_data_size"]
    if given.data is not NO_DATA:
        raise InvalidInput(f"input '{given.name}' has both data and binary_data_size; send one")
    if rest is None:
        raise InvalidInput(
            f"input '{given.name}' has binary_data_size, but the header "
            "Inference-Header-Content-Length is missing"
        )
    if size > len(rest):
        raise InvalidInput(
            f"input '{given.name}' has binary_data_size {size}, but only {len(rest)} bytes "
            "are left in the body"
        )
    # The size belongs to the transport, not to the tensor.
    kept = {key: value for key, value in parameters.items() if key != "binary_data_size"}
    tensor = tensor_from_buffer(given.name, given.datatype, given.shape, rest[:size], kept or None)
    return tensor, rest[size:]


def decode_outputs(given: list[WireOutput]) -> tuple[RequestedOutput, ...]:
    """Return the outputs that a request asks for.

    Raises:
        InvalidInput: one is asked for twice, or its parameters are wrong.
    """
    refuse_twice("output", [output.name for output in given])
    return tuple(
        RequestedOutput(output.name, checked_parameters(output.parameters or None))
        for output in given
    )


def decode_raw_request(
    body: bytes | memoryview,
    inputs: Sequence[TensorMetadata],
    model_name: str,
    model_version: str,
    request_id: str | None = None,
    *,
    row_axis: bool = True,
) -> InferRequest:
    """Return the request whose body is nothing but the elements of the model's one input.

    That is what `Inference-Header-Content-Length: 0` means. `inputs` are the model's; in their
    shape one dimension may be -1 and follows from the size of the body. Where the first is the
    row and another is free, the body is one row. A BYTES input is one element, without a length
    before it. Outputs are asked for in binary.

    Raises:
        InvalidInput: the model has not exactly one input, or the body does not fit its shape.
    """
    if len(inputs) != 1:
        raise InvalidInput(
            f"Inference-Header-Content-Length 0 needs a model with one input; this has "
            f"{len(inputs)}"
        )
    spec = inputs[0]
    name, datatype = spec.name, spec.datatype
    if datatype == "BYTES":
        shape = tuple(1 if size == -1 else size for size in spec.shape)
        if math.prod(shape) != 1:
            raise InvalidInput(f"input '{name}' takes more than one element; send it with JSON")
        tensor = Tensor(name, datatype, shape, object_array([bytes(body)], shape))
    else:
        tensor = tensor_from_buffer(name, datatype, _raw_shape(spec, len(body), row_axis), body)
    identity = chosen_id(None, request_id)
    return InferRequest(model_name, model_version, identity, (tensor,), (), _RAW_PARAMETERS)


def _raw_shape(spec: TensorMetadata, length: int, row_axis: bool) -> tuple[int, ...]:
    shape = spec.shape
    if row_axis and -1 in shape[1:]:
        shape = (1, *shape[1:])
    free = shape.count(-1)
    if free > 1:
        raise InvalidInput(f"input '{spec.name}' has several free dimensions; send it with JSON")
    row = math.prod(size for size in shape if size != -1) * spec.item_size
    if not free and length != row:
        raise InvalidInput(f"input '{spec.name}' takes {row} bytes, the body has {length}")
    if free and not length:
        raise InvalidInput(f"the body is empty; send the elements of input '{spec.name}'")
    if free and not row:
        raise InvalidInput(
            f"input '{spec.name}' has no elements in its shape {list(spec.shape)}, but the body "
            f"has {length} bytes; send it with JSON"
        )
    if free and length % row:
        raise InvalidInput(f"the body has {length} bytes, which is not a multiple of {row}")
    return tuple(length // row if size == -1 else size for size in shape)


def encode_response(response: InferResponse, request: InferRequest) -> tuple[bytes, int | None]:
    """Return the HTTP body of `response`, and the length of its JSON part.

    The length is `None` when all is JSON. `request` says which outputs are wanted in binary
    (its parameter `binary_data_output`, or `binary_data` of an output) and in base64.

    Raises:
        InvalidInput: a BYTES output is not UTF-8 and was asked for as plain JSON.
    """
    default = request.parameters is not None and bool(request.parameters.get("binary_data_output"))
    wanted = {o.name: o.parameters for o in request.outputs} if request.outputs else {}
    buffers: list[bytes | memoryview] = []
    outputs: list[dict[str, Any]] = []
    for tensor in response.outputs:
        asked = wanted.get(tensor.name)
        datatype = tensor.datatype
        if default if asked is None else asked.get("binary_data", default):
            buffer = tensor_to_buffer(tensor)
            buffers.append(buffer)
            outputs.append(_described(tensor, {"binary_data_size": len(buffer)}))
        elif datatype in NATIVE and not tensor.parameters:  # nearly all of them, in one piece
            outputs.append(
                {
                    "name": tensor.name,
                    "datatype": datatype,
                    "shape": tensor.shape,
                    "data": native(tensor.data),
                }
            )
        elif is_base64(asked) and datatype == "BYTES":
            outputs.append(_encoded(tensor, {"content_type": "base64"}))
        else:
            outputs.append(_encoded(tensor, None))
    answer: dict[str, Any] = {
        "model_name": response.model_name,
        "model_version": response.model_version,
        "id": response.id,
        "outputs": outputs,
    }
    if response.parameters:
        answer["parameters"] = response.parameters
    text = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join((text, *buffers)), len(text)) if buffers else (text, None)


def _described(tensor: Tensor, extra: Scalars | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": tensor.shape,
    }
    if tensor.parameters or extra:
        described["parameters"] = {**(tensor.parameters or {}), **(extra or {})}
    return described


def _encoded(tensor: Tensor, extra: Scalars | None) -> dict[str, Any]:
    described = _described(tensor, extra)
    described["data"] = encode_data(tensor, extra is not None or is_base64(tensor.parameters))
    return described
