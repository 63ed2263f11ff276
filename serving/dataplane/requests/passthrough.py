"""Requests whose model is on another server: their rows, and what is passed on, there and back."""

from __future__ import annotations

from typing import Final

import msgspec

from serving.channel.messages.inference import Passthrough, ResponseParameters
from serving.errors import InvalidInput
from serving.protocol.messages import InferRequest, Parameters, Tensor
from serving.protocol.parameters import STREAM_ENDS

OURS: Final = frozenset({"binary_data_output", "sensitive_features", "timeout"}) | STREAM_ENDS
"""Request parameters that are for this server; whatever else there is goes on.

`timeout` counts from the request's arrival here, and would keep requests that give different
ones out of one batch. How the answers in a client's stream end is between it and this server.
"""

_INPUT_OURS: Final = frozenset({"binary_data_size"}) | STREAM_ENDS

_encode = msgspec.msgpack.Encoder().encode


def encode_forward(request: InferRequest, credential: bytes = b"") -> bytes:
    """Return the encoded `Passthrough` of a request; empty when there is nothing to pass on.

    Equal parameters give equal bytes whatever their order was, so that such requests may share
    a batch.

    Raises:
        InvalidInput: the credential cannot be the value of a header.
    """
    parameters = _kept(request.parameters, OURS)
    inputs = {
        tensor.name: kept
        for tensor in request.inputs
        if tensor.parameters and (kept := _kept(tensor.parameters, _INPUT_OURS))
    }
    if not parameters and not inputs and not credential:
        return b""
    return _encode(Passthrough(parameters, dict(sorted(inputs.items())), _text(credential)))


def _text(credential: bytes) -> str:
    text = credential.decode("latin-1")
    if not (text.isascii() and text.isprintable()):
        raise InvalidInput("the header 'authorization' must be printable ASCII")
    return text


def _kept(parameters: Parameters | None, ours: frozenset[str]) -> dict[str, object]:
    if not parameters:
        return {}
    return {name: parameters[name] for name in sorted(parameters) if name not in ours}


def is_stateful(parameters: Parameters | None) -> bool:
    """Whether a request is a step of a sequence: a batch would mix it with another step."""
    return any(name.startswith("sequence_") for name in parameters or ())


def with_row_axis(request: InferRequest) -> InferRequest:
    """Return the request as one row: every input with a leading axis of 1."""
    return msgspec.structs.replace(request, inputs=tuple(map(with_axis, request.inputs)))


def with_axis(tensor: Tensor) -> Tensor:
    """Return the tensor with a leading axis of 1."""
    shape = (1, *tensor.shape)
    return Tensor(tensor.name, tensor.datatype, shape, tensor.data[None], tensor.parameters)


def without_row_axis(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the outputs of one row without their leading axis; the inverse for answers."""
    return tuple(
        Tensor(t.name, t.datatype, t.shape[1:], t.data.reshape(t.shape[1:]), t.parameters)
        for t in tensors
    )


def with_response_parameters(
    tensors: tuple[Tensor, ...], response_parameters: ResponseParameters
) -> tuple[Tensor, ...]:
    """Return the outputs with what the other server said of each."""
    return tuple(
        Tensor(t.name, t.datatype, t.shape, t.data, response_parameters.outputs.get(t.name))
        for t in tensors
    )
