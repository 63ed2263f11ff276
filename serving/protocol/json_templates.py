"""JSON requests known by what surrounds their numbers.

A client sends the same names and shapes again and again, with other numbers between them. What was
read once is recognised as bytes; anything that differs takes the way of `json_codec`, whose results
these are. (The same for answers was slower than to write them anew.)
"""

from __future__ import annotations

from typing import Final

import msgspec

from serving.errors import InvalidInput
from serving.protocol.ids import chosen_id
from serving.protocol.json_codec import decode_wire
from serving.protocol.json_data import decode_data
from serving.protocol.json_wire import offset, read_request
from serving.protocol.messages import (
    InferRequest,
    Parameters,
    RequestedOutput,
    Tensor,
)

_MOST: Final = 256
_LONGEST: Final = 1024


class _Template(msgspec.Struct, frozen=True):
    """What stands before and after the data of a request's only input, and what it means."""

    before: bytes
    after: bytes
    name: str
    datatype: str
    shape: tuple[int, ...]
    tensor_parameters: Parameters | None
    outputs: tuple[RequestedOutput, ...]
    parameters: Parameters | None


class RequestReader:
    """Reads JSON bodies without binary tensors; keeps one template for each model's requests."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Template] = {}

    def read(
        self, body: bytes, model_name: str, model_version: str, request_id: str | None = None
    ) -> InferRequest:
        """Return what `json_codec.decode_request` returns for a body that is all JSON.

        Raises:
            InvalidInput, Unsupported: as there.
        """
        known = self._known.get((model_name, model_version))
        if known is not None and body.startswith(known.before) and body.endswith(known.after):
            # Overlapping, the two would leave nothing between them, and nothing is no list.
            data = body[len(known.before) : len(body) - len(known.after)]
            try:
                array = decode_data(known.name, known.datatype, known.shape, data, False)
            except InvalidInput:
                pass  # the codec finds the words
            else:
                tensor = Tensor(
                    known.name, known.datatype, known.shape, array, known.tensor_parameters
                )
                return InferRequest(
                    model_name,
                    model_version,
                    chosen_id(None, request_id),
                    (tensor,),
                    known.outputs,
                    known.parameters,
                )
        wire = read_request(body)
        request = decode_wire(wire, None, model_name, model_version, request_id)
        tensor = request.inputs[0]
        if len(request.inputs) == 1 and not wire.id and tensor.datatype != "BYTES":
            self._learn(body, wire.inputs[0].data, request)
        return request

    def _learn(self, body: bytes, data: msgspec.Raw, request: InferRequest) -> None:
        begin = offset(data, body)
        end = begin + len(data)
        if begin + len(body) - end > _LONGEST:
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        tensor = request.inputs[0]
        self._known[request.model_name, request.model_version] = _Template(
            body[:begin],
            body[end:],
            tensor.name,
            tensor.datatype,
            tensor.shape,
            tensor.parameters,
            request.outputs,
            request.parameters,
        )
