"""ModelInfer messages read without being parsed, where only what changes with every call changes.

That is the id and the numbers. Everything else, shapes as well, is held as bytes against messages
of the same model and of the same length. Whatever differs takes the way of `grpc.codec`, whose
results these are.
"""

from __future__ import annotations

from math import prod
from typing import Final

import numpy as np

from serving.protocol.datatypes import NUMPY_OF
from serving.protocol.grpc import codec as grpc_codec
from serving.protocol.grpc.layout import ID, MODEL_VERSION, find_layout
from serving.protocol.ids import new_request_id
from serving.protocol.messages import InferRequest, Parameters, Tensor
from serving.protocol.recent import Recent

_MOST_LENGTHS: Final = 512
"""Messages of different models and lengths: those with other numbers of rows are others."""

_MOST_FORMS: Final = 4
"""Messages of one model and length that differ in more than ids and numbers."""

_LONGEST: Final = 2048
"""Bytes beside id and numbers."""

_PATIENCE: Final = 64
"""Unknown messages in a row after which one of `_SELDOM` is learned from."""

_SELDOM: Final = 16
_LONG: Final = 0x80
"""A length of so much takes more than one byte."""


_Input = tuple[str, str, tuple[int, ...], Parameters | None, np.dtype, int]
"""Name, datatype, shape, parameters and type of an input, and where its elements begin, counted
from the end of the id."""


class _Template:
    """What stays the same behind the id.

    Args:
        request: one of those that it stands for.
        literals: bytes around the elements, and where they stand, counted from the end of the id.
        inputs: what is known of them.
    """

    __slots__ = ("inputs", "literals", "model_name", "model_version", "outputs", "parameters")

    def __init__(
        self,
        request: InferRequest,
        literals: list[tuple[int, bytes]],
        inputs: list[_Input],
    ) -> None:
        self.model_name = request.model_name
        self.model_version = request.model_version
        self.outputs = request.outputs
        self.parameters = request.parameters
        self.literals = literals
        self.inputs = inputs


class RequestReader:
    """Reads ModelInfer messages, whichever connection they come from."""

    def __init__(self) -> None:
        self._known: Recent[tuple[bytes, int], list[_Template]] = Recent(_MOST_LENGTHS)
        self._misses = 0

    def read(self, payload: bytes) -> InferRequest:
        """Return the request in `payload`.

        Raises:
            InvalidInput, Unsupported: as for `grpc.codec.decode_request`.
        """
        ident = b""
        try:
            # Name, version and id come first; what is kept began like this and had short ones.
            at = payload[1] + 2
            if payload[at] == MODEL_VERSION:
                at += payload[at + 1] + 2
            head = payload[:at]
            if payload[at] == ID and payload[at + 1] < _LONG:
                begin = at + 2
                at = begin + payload[at + 1]
                ident = payload[begin:at]
            known = self._known[head, len(payload) - at]
        except IndexError:
            known = None
        if known is not None:
            for place, template in enumerate(known):
                for offset, literal in template.literals:
                    if not payload.startswith(literal, at + offset):
                        break
                else:
                    try:
                        own = ident.decode() if ident else new_request_id()
                    except UnicodeDecodeError:
                        break
                    request = _filled(template, payload, at, own)
                    self._misses = 0
                    if place:
                        known.insert(0, known.pop(place))
                    return request
        message = grpc_codec.parse_request(payload)
        request = grpc_codec.decode_request(message)
        self._misses += 1
        if self._misses <= _PATIENCE or not self._misses % _SELDOM:
            self._learn(payload, request)
        return request

    def _learn(self, payload: bytes, request: InferRequest) -> None:
        # A BOOL must be looked at, and BYTES have no fixed size.
        datatypes = [tensor.datatype for tensor in request.inputs]
        if "BOOL" in datatypes or "BYTES" in datatypes:
            return
        layout = find_layout(payload, datatypes)
        if layout is None or len(payload) - sum(s.end - s.begin for s in layout.data) > _LONGEST:
            return
        inputs: list[_Input] = []
        literals: list[tuple[int, bytes]] = []
        at = layout.rest
        for tensor, span in zip(request.inputs, layout.data, strict=True):
            dtype = NUMPY_OF[tensor.datatype]
            if prod(tensor.shape) * dtype.itemsize != span.end - span.begin:
                return
            literals.append((at - layout.rest, payload[at : span.begin]))
            inputs.append(
                (
                    tensor.name, tensor.datatype, tensor.shape, tensor.parameters, dtype,
                    span.begin - layout.rest,
                )
            )  # fmt: skip
            at = span.end
        if at < len(payload):
            literals.append((at - layout.rest, payload[at:]))
        template = _Template(request, literals, inputs)
        key = (payload[: layout.head], len(payload) - layout.rest)
        known = self._known[key]
        if known is None:
            self._known[key] = [template]
            return
        # The last place is for whoever is new: a flood of messages that never come again pushes
        # out one another, and nobody who has come twice.
        del known[_MOST_FORMS - 1 :]
        known.append(template)


def _filled(template: _Template, payload: bytes, at: int, ident: str) -> InferRequest:
    """Return the request of a template; what it leaves open begins at `at`."""
    tensors = []
    for name, datatype, shape, parameters, dtype, begin in template.inputs:
        data: np.ndarray = np.ndarray(shape, dtype, payload, at + begin)
        tensors.append(Tensor(name, datatype, shape, data, parameters))
    return InferRequest(
        template.model_name,
        template.model_version,
        ident,
        tuple(tensors),
        template.outputs,
        template.parameters,
    )
