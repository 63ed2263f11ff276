"""Takes away, before a model's own code, the row axis that its tensors have everywhere else.

Inside Vigil every tensor has rows. The value of an input without rows is repeated for each, and a
request of a model without a row axis is one row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from serving.config import ModelConfig

RunArrays = Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]]
RunTensors = Callable[..., Any]


def rowless_inputs(config: ModelConfig) -> frozenset[str]:
    """Return the inputs that the model takes without a row axis."""
    return frozenset(
        spec.name
        for spec in config.inputs
        if not spec.sensitive and (spec.rowless or not config.row_axis)
    )


def with_rows(config: ModelConfig, request: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of a request, which have their own shapes, with rows throughout.

    One value per row, or none, may have an axis of size 1 behind it, as with Triton's clients.
    """
    names = rowless_inputs(config)
    ranks = {spec.name: len(config.own_shape(spec)) for spec in config.inputs}
    request = {
        name: array[..., 0]
        if array.ndim == ranks[name] + 1 <= 2 and array.shape[-1] == 1
        else array
        for name, array in request.items()
        if name in ranks
    }
    counts = [len(array) for name, array in request.items() if name not in names and array.ndim]
    rows = counts[0] if counts else 1
    return {
        name: np.repeat(array[None], rows, axis=0) if name in names else array
        for name, array in request.items()
    }


def without_rows(config: ModelConfig, run: RunArrays) -> RunArrays:
    """Return `run` for inputs that all have rows, and with outputs that all have them."""
    names = rowless_inputs(config)
    if not names:
        return run

    def run_rows(inputs: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        given = {name: array[0, ...] if name in names else array for name, array in inputs.items()}
        found = run(given)
        if config.row_axis or not isinstance(found, Mapping):
            return found
        return {name: _with_axis(array) for name, array in found.items()}

    return run_rows


def _with_axis(array: Any) -> Any:
    is_array = isinstance(array, np.ndarray | np.generic)
    return np.asarray(array)[None] if is_array else array  # what is none is named later


def without_rows_in_torch(config: ModelConfig, run: RunTensors) -> RunTensors:
    """Return `run`, which takes tensors in the order of `model.yaml`, as `without_rows` does."""
    names = rowless_inputs(config)
    if not names:
        return run
    takes = [spec.name in names for spec in config.inputs if not spec.sensitive]

    def run_rows(*tensors: Any) -> Any:
        given = [
            tensor[0] if rowless else tensor for tensor, rowless in zip(tensors, takes, strict=True)
        ]
        found = run(*given)
        return found if config.row_axis else _with_axes(found)

    return run_rows


def _with_axes(found: Any) -> Any:
    if isinstance(found, tuple | list):
        return tuple(_with_axes(part) for part in found)
    return found[None] if hasattr(found, "ndim") else found


def same_in_all_rows(array: np.ndarray) -> bool:
    """Tell if every row of `array` holds the same value, NaN being the same as NaN."""
    if not array.size:
        return True
    if array.dtype == object:
        return bool((array == array[:1]).all())
    raw = np.ascontiguousarray(array).view(np.uint8).reshape(len(array), -1)
    return bool((raw == raw[:1]).all())
