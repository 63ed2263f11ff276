"""Bodies of the V1 protocol (`instances`, `predictions`), read as the model's declared tensors.

V1 tells neither names nor datatypes: a model with one input takes its instances as they are, one
with several takes objects by name. Outputs likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from serving.config import InputSpec, ModelConfig, OutputSpec
from serving.errors import InvalidInput
from serving.protocol.json.data import UNREADABLE, decode_data, reason
from serving.protocol.messages import InferRequest, Tensor
from serving.protocol.tensors import MAX_RANK


def read_v1_request(
    name: str, config: ModelConfig, instances: msgspec.Raw, ident: str
) -> InferRequest:
    """Return the request of a V1 body; `ident` is its id.

    Raises:
        InvalidInput: the instances are not those of the model.
    """
    inputs = [spec for spec in config.inputs if not spec.sensitive]
    tensors = _tensors(name, inputs, instances, "instances", row_axis=config.row_axis)
    return InferRequest(name, "", ident, tuple(tensors), (), None)


def read_v1_answer(name: str, config: ModelConfig, predictions: msgspec.Raw) -> list[Tensor]:
    """Return the outputs of a V1 answer.

    Raises:
        InvalidInput: the predictions are not those of the model.
    """
    return _tensors(name, config.outputs, predictions, "predictions", row_axis=config.row_axis)


def _tensors(
    name: str,
    specs: Sequence[InputSpec | OutputSpec],
    raw: msgspec.Raw,
    what: str,
    *,
    row_axis: bool,
) -> list[Tensor]:
    if not row_axis:
        raise InvalidInput(f"model '{name}' has no row axis, so its {what} cannot be told apart")
    try:
        rows = msgspec.json.decode(raw, type=list[Any])
    except UNREADABLE as error:
        raise InvalidInput(f"CloudEvent: {what} must be a list: {reason(error)}") from None
    if rows and all(isinstance(row, dict) for row in rows):
        columns = [[_of(row, spec.name, what) for row in rows] for spec in specs]
    elif len(specs) == 1:
        columns = [rows]
    else:
        names = ", ".join(spec.name for spec in specs)
        raise InvalidInput(f"CloudEvent: {what} must be objects with the keys {names}")
    return [_tensor(spec, column) for spec, column in zip(specs, columns, strict=True)]


def _of(row: dict[str, Any], name: str, what: str) -> Any:
    if name not in row:
        raise InvalidInput(f"CloudEvent: an element of {what} has no '{name}'")
    return row[name]


def _tensor(spec: InputSpec | OutputSpec, values: list[Any]) -> Tensor:
    shape: list[int] = []
    element: Any = values
    while isinstance(element, list) and len(shape) < MAX_RANK:
        shape.append(len(element))
        element = element[0] if element else None
    dims = tuple(shape)
    data = decode_data(spec.name, spec.datatype, dims, msgspec.json.encode(values), base64=False)
    return Tensor(spec.name, spec.datatype, dims, data)
