"""Requests and answers of `vigil infer` in the form of Triton's client, which encodes them."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from serving.errors import InvalidInput
from serving.protocol.datatypes import NUMPY_OF
from serving.protocol.json.codec import parse_json_length
from serving.protocol.messages import (
    InferRequest,
    InferResponse,
    Parameters,
    RequestedOutput,
    Tensor,
)

HEADER: Final = "Inference-Header-Content-Length"
_ARGUMENTS: Final = ("sequence_id", "sequence_start", "sequence_end", "priority", "timeout")
"""Request parameters that Triton's client takes by argument, and refuses otherwise."""


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None


class _Answer(msgspec.Struct):
    model_name: str
    outputs: list[_Output]
    model_version: str = ""
    id: str = ""
    parameters: dict[str, Any] | None = None


def encode(request: InferRequest) -> tuple[bytes, dict[str, str]]:
    """Return the body that asks for all outputs in binary, and its headers.

    Raises:
        InvalidInput: Triton's client does not send such a request.
    """
    others = dict(request.parameters or {})
    others.pop("binary_data_output", None)  # the client's own
    arguments = {name: others.pop(name) for name in _ARGUMENTS if name in others}
    try:
        body, length = InferenceServerClient.generate_request_body(
            [_input(tensor) for tensor in request.inputs],
            outputs=[_requested(output) for output in request.outputs],
            request_id=request.id,
            parameters=others,
            **arguments,
        )
    except InferenceServerException as error:
        raise InvalidInput(str(error.message())) from None
    return body, {} if length is None else {HEADER: str(length)}


def _input(tensor: Tensor) -> InferInput:
    data = tensor.data
    if tensor.datatype == "BF16":
        data = data.view(triton_to_np_dtype("BF16"))
    made = InferInput(tensor.name, list(tensor.shape), tensor.datatype)
    made.set_data_from_numpy(data)
    made._parameters.update(_kept(tensor.parameters))
    return made


def _requested(output: RequestedOutput) -> InferRequestedOutput:
    made = InferRequestedOutput(output.name)
    made._parameters.update(_kept(output.parameters))
    return made


def _kept(given: Parameters | None) -> dict[str, Any]:
    """Return a tensor's parameters but those about its encoding, which is binary here.

    Triton's client has no other way to give them than its own dictionary.
    """
    kept = {key: value for key, value in (given or {}).items() if key != "binary_data"}
    if kept.get("content_type") == "base64":
        del kept["content_type"]
    return kept


def decode(content: bytes, header_length: str | None) -> InferResponse:
    """Return the answer in a body; `header_length` is its header's, if it has one.

    Raises:
        InvalidInput: it is no answer to an inference.
    """
    try:
        given = header_length
        length = None if given is None else parse_json_length(given, len(content))
        result = InferenceServerClient.parse_response_body(content, header_length=length)
        head = msgspec.convert(result.get_response(), _Answer)
        outputs = tuple(_output(output, result.as_numpy(output.name)) for output in head.outputs)
    except (
        InvalidInput, InferenceServerException, msgspec.ValidationError, ValueError, LookupError,
        TypeError, AttributeError, OverflowError, RecursionError,
    ):  # fmt: skip
        raise InvalidInput("this is no answer to an inference") from None
    return InferResponse(head.model_name, head.model_version, head.id, outputs, head.parameters)


def _output(described: _Output, values: np.ndarray) -> Tensor:
    name, datatype = described.name, described.datatype
    if datatype == "BF16":
        values = values.view(NUMPY_OF[datatype])
    elif datatype == "BYTES":  # JSON has them as text
        flat = [v if isinstance(v, bytes) else str(v).encode() for v in values.ravel().tolist()]
        values = np.empty(len(flat), np.object_)
        values[:] = flat
        values = values.reshape(described.shape)
    elif values.dtype != NUMPY_OF[datatype]:
        raise TypeError(datatype)
    kept = {k: v for k, v in (described.parameters or {}).items() if k != "binary_data_size"}
    return Tensor(name, datatype, tuple(described.shape), values, kept or None)
