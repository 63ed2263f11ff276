"""Which methods can explain a model, and how they are made for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from explain.attribution import Explainer
from explain.integrated_gradients import IntegratedGradients
from explain.kernel_shap import KernelShap, Limits, Predict
from serving.config import InputSpec, ModelConfig
from serving.models.contract import Model
from serving.protocol.datatypes import bf16_to_fp32, fp32_to_bf16

INTEGRATED_GRADIENTS: Final = "integrated_gradients"
KERNEL_SHAP: Final = "kernel_shap"

BATCH_ROWS: Final = 256


def explainers(config: ModelConfig, model: Model) -> dict[str, Explainer]:
    """Return the explainers that a model allows by their method's name, the best one first.

    Args:
        config: of the model; without a section `explain` there are none.
        model: a copy that nobody else uses.
    """
    wanted = config.explain
    if wanted is None:
        return {}
    specs = [spec for spec in config.inputs if not spec.sensitive]
    names = [spec.name for spec in specs]
    found: dict[str, Explainer] = {}
    if model.capabilities.module and model.capabilities.differentiable:
        found[INTEGRATED_GRADIENTS] = IntegratedGradients(
            model.module(),
            names,
            n_steps=wanted.n_steps,
            max_relative_error=wanted.max_completeness_error,
        )
    most = config.batching.max_batch_size
    found[KERNEL_SHAP] = KernelShap(
        _predict(config, model),
        names,
        {spec.name: _first_categories(spec) for spec in specs if spec.datatype == "BYTES"},
        n_samples=wanted.n_samples,
        max_relative_error=wanted.max_completeness_error,
        limits=Limits(batch_rows=min(most or BATCH_ROWS, BATCH_ROWS), seconds=wanted.max_seconds),
    )
    return found


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
