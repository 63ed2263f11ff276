"""A batch as named columns: what drift compares, here and in the reference alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from monitors.drift.outputs import output_columns
from serving.config import Feature, InputSpec, ModelConfig
from serving.models.consumers import fixed_outputs
from serving.protocol.datatypes import NUMPY_OF, bf16_to_fp32

MAX_ELEMENTS: Final = 256
"""Inputs with more elements per row than this give summaries instead of a column each."""


def input_columns(inputs: Mapping[str, np.ndarray], config: ModelConfig) -> dict[str, np.ndarray]:
    """Return columns [n] by name of all inputs that the model sees and `inputs` holds.

    A named feature gives a column of its name (`<input>.<feature>` where two inputs have a
    feature of that name). An element of any other input gives `<input>[i,j,...]`, or just
    `<input>` if there is one per row; an input of more than 256 elements per row gives
    `<input>.mean` and `<input>.std`. Sensitive inputs give none: their values are only counted.
    """
    seen = [spec for spec in config.inputs if not spec.sensitive]
    columns: dict[str, np.ndarray] = {}
    for spec in seen:
        if spec.name in inputs:
            array = inputs[spec.name]
            values = bf16_to_fp32(array) if spec.datatype == "BF16" else array
            columns.update(_columns_of(spec, values, _ambiguous(seen)))
    return columns


def answer_columns(outputs: Mapping[str, np.ndarray], config: ModelConfig) -> dict[str, np.ndarray]:
    """Return columns [n] by name of the outputs whose rows have one shape; BF16 as numbers."""
    fixed = {spec.name: spec for spec in fixed_outputs(config) if spec.name in outputs}
    return output_columns(
        {name: outputs[name] for name in fixed},
        {name: spec.classes for name, spec in fixed.items() if spec.classes},
    )


def declared_features(config: ModelConfig) -> dict[str, Feature]:
    """Return what model.yaml says of columns, by the names that `input_columns` gives them."""
    seen = [spec for spec in config.inputs if not spec.sensitive]
    ambiguous = _ambiguous(seen)
    return {
        f"{spec.name}.{each.name}" if each.name in ambiguous else each.name: each
        for spec in seen
        for each in spec.features or []
    }


def fixed_columns(config: ModelConfig) -> set[str]:
    """Return the names of the columns of every input whose shape is fixed but for the rows."""
    fixed = [spec for spec in config.inputs if -1 not in spec.shape[1:]]
    rowless = {spec.name: np.empty((0, *spec.shape[1:]), NUMPY_OF[spec.datatype]) for spec in fixed}
    return set(input_columns(rowless, config))


def _columns_of(spec: InputSpec, array: np.ndarray, ambiguous: set[str]) -> dict[str, np.ndarray]:
    if spec.features:
        turned = _turned(array)
        names = [feature.name for feature in spec.features]
        return {
            f"{spec.name}.{name}" if name in ambiguous else name: turned[index]
            for index, name in enumerate(names)
        }
    if array.ndim == 1:
        return {spec.name: array}
    flat = array.reshape(len(array), int(np.prod(array.shape[1:])))
    if flat.shape[1] > MAX_ELEMENTS and spec.datatype != "BYTES":
        wide = flat.astype(np.float64)
        return {f"{spec.name}.mean": wide.mean(axis=1), f"{spec.name}.std": wide.std(axis=1)}
    turned = _turned(flat)
    positions = np.ndindex(*array.shape[1:])
    return {
        f"{spec.name}[{','.join(map(str, position))}]": turned[index]
        for index, position in enumerate(positions)
    }


def _turned(array: np.ndarray) -> np.ndarray:
    """Return [n, k] as [k, n]; numbers of a column lie side by side, as its readers want them."""
    return array.T if array.dtype == np.object_ else np.ascontiguousarray(array.T)


def _ambiguous(specs: list[InputSpec]) -> set[str]:
    names = [feature.name for spec in specs for feature in spec.features or []]
    return {name for name in names if names.count(name) > 1}
