"""Tensors as the trace level TENSORS writes them: Triton's names, values as text, bounded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from serving.dataplane.hooks.columns import outputs_of
from serving.dataplane.hooks.records import BatchDone, RequestDone
from serving.protocol.datatypes import bf16_to_fp32

MOST_VALUES: Final = 4096
"""Values that are written of one tensor."""
MOST_TEXT: Final = 64 << 10
"""Characters that are written of one BYTES tensor, quotes and commas left aside."""


def tensors_of(
    request: RequestDone,
    done: BatchDone,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    """Yield what a model was given for a request and, unless that failed, what it answered.

    Sensitive attributes are not among them: the model does not see them.

    Args:
        request: one of `done`.
        done: the record of its batch.
        inputs, outputs: datatypes by name.
    """
    ident = request.client_id
    for name, array in zip(done.input_names, request.bound.arrays, strict=True):
        yield _activity(ident, "TENSOR_QUEUE_INPUT", name, inputs[name], array)
    if request.failure is None and not request.refused and request.output_row >= 0:
        for name, array in outputs_of(done, [request]).items():
            if name in outputs:
                yield _activity(ident, "TENSOR_BACKEND_OUTPUT", name, outputs[name], array)


def _activity(
    ident: str, activity: str, name: str, datatype: str, array: np.ndarray
) -> dict[str, Any]:
    texts = _texts(datatype, array)
    tensor: dict[str, Any] = {
        "name": name,
        "data": ",".join(texts),
        "shape": ",".join(map(str, array.shape)),
        "dtype": datatype,
    }
    if len(texts) < array.size:
        tensor["truncated"] = True
    return {"id": ident, "activity": activity, "tensor": tensor}


def _texts(datatype: str, array: np.ndarray) -> list[str]:
    """Return the first values in row-major order."""
    values = array.flat[:MOST_VALUES]
    if datatype == "BYTES":
        return _quoted(values)
    if datatype == "BOOL":
        values = values.view(np.uint8)  # 0 and 1, as Triton writes them
    elif datatype == "BF16":
        values = bf16_to_fp32(values)
    texts: list[str] = values.astype(np.str_).tolist()
    return texts


def _quoted(values: np.ndarray) -> list[str]:
    texts: list[str] = []
    left = MOST_TEXT
    for value in values:
        text = value if isinstance(value, str) else bytes(value).decode("utf-8", "replace")
        left -= len(text)
        if left < 0:
            break
        texts.append(json.dumps(text, ensure_ascii=False))
    return texts
