"""KernelSHAP of any model, from its predictions alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from explain.kernel_shap import KernelShap, Limits, Predict
from serving.config import InputSpec, ModelConfig
from serving.models.contract import Model
from serving.protocol.datatypes import bf16_to_fp32, fp32_to_bf16

BATCH_ROWS: Final = 256


def build(config: ModelConfig, model: Model) -> KernelShap:
    """Return the explainer of a model's first output; `config` has a section `explain`."""
    assert config.explain is not None
    specs = [spec for spec in config.inputs if not spec.sensitive]
    rows = min(config.batching.max_batch_size or BATCH_ROWS, BATCH_ROWS)
    return KernelShap(
        _predict(config, model),
        [spec.name for spec in specs],
        {spec.name: _first_categories(spec) for spec in specs if spec.datatype == "BYTES"},
        n_samples=config.explain.n_samples,
        max_relative_error=config.explain.max_completeness_error,
        limits=Limits(batch_rows=rows, seconds=config.explain.max_seconds),
    )


def _predict(config: ModelConfig, model: Model) -> Predict:
    """The first output of the model; BF16 is float32 outside of it."""
    output = config.outputs[0]
    narrow = [spec.name for spec in config.inputs if spec.datatype == "BF16"]

    def predict(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        arrays = {
            name: fp32_to_bf16(array) if name in narrow else array for name, array in inputs.items()
        }
        found = model.predict(arrays)[output.name]
        return bf16_to_fp32(found) if output.datatype == "BF16" else found

    return predict


def _first_categories(spec: InputSpec) -> np.ndarray:
    """What stands for zero in a text input: the first category that a column declares."""
    if not spec.features:
        return np.array(b"", dtype=object)
    row = np.empty((1, len(spec.features)), dtype=object)
    row[0] = [(column.categories or [""])[0].encode() for column in spec.features]
    return row
