"""How far a converted or compiled model is from the one that was made, and whether it may serve.

Per output: the largest absolute difference of any element, as a share of the largest absolute
value that the unconverted model gives for that output. For outputs that are not floating-point:
the share of elements that differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from serving.config import ConfigError, ModelConfig
from serving.errors import ModelFailed
from serving.models.contract import Model, Prediction, Tensors
from serving.models.repository.folder import ModelEntry
from serving.protocol.datatypes import bf16_to_fp32

CONVERTED_TOLERANCE: Final = 0.02
"""bfloat16 keeps 8 bits, 0.4 % of a value; a few layers of it stay below this."""
COMPILED_TOLERANCE: Final = 0.0001
"""Fused kernels sum in another order; in float32 that moves the seventh digit."""

FEATURES: Final = "features"


@dataclass(frozen=True, slots=True)
class Deviation:
    """The largest deviation found.

    Attributes:
        output: the output that it was found in, or `features`.
        value: 0 for none, 1 for as large as the output itself, infinite for a NaN that the
            unconverted model did not give.
        rows: rows of all batches that were compared.
    """

    output: str
    value: float
    rows: int


def tolerance_of(config: ModelConfig) -> float:
    """Return the largest deviation that may serve."""
    if config.precision_tolerance is not None:
        return config.precision_tolerance
    return COMPILED_TOLERANCE if config.precision == "fp32" else CONVERTED_TOLERANCE


def as_made(entry: ModelEntry) -> ModelEntry:
    """Return the entry without conversion and compilation: what is compared with."""
    batching = entry.config.batching.model_copy(update={"buckets": None})
    plain = {"precision": "fp32", "compile": "none", "batching": batching}
    return replace(entry, config=entry.config.model_copy(update=plain))


def changes_numbers(config: ModelConfig) -> bool:
    """Tell if what is served may compute other numbers than what was made."""
    return config.precision != "fp32" or config.compile != "none"


def measure(
    entry: ModelEntry, served: Model, reference: Model, batches: Iterable[Tensors]
) -> Deviation:
    """Return the largest deviation of `served` from `reference` over `batches`, at least one.

    Raises:
        ConfigError: the converted or compiled model cannot compute them.
        ModelFailed: the model as it was made cannot compute them.
    """
    worst = Deviation("", -1.0, 0)
    rows = 0
    datatypes = {spec.name: spec.datatype for spec in entry.config.outputs}
    for batch in batches:
        expected = _predict(reference, batch)
        try:
            found = _predict(served, batch)
        except ModelFailed as error:
            raise ConfigError(
                f"model '{entry.name}' does not compute with {asked(entry.config)}, though "
                f"without it does: {error.message}"
            ) from None
        rows += len(next(iter(batch.values())))
        for name, value in _deviations(found, expected, datatypes).items():
            if value > worst.value:
                worst = Deviation(name, value, rows)
    return replace(worst, rows=rows)


def require_tolerable(entry: ModelEntry, deviation: Deviation, what: str) -> None:
    """Return if the deviation, measured on `what`, is within the model's tolerance.

    Raises:
        ConfigError: it is not.
    """
    allowed = tolerance_of(entry.config)
    if not deviation.value <= allowed:
        raise ConfigError(
            f"model '{entry.name}': {describe(entry.config, deviation, what)}; raise "
            f"precision_tolerance if that is good enough, or set `precision: fp32` and "
            f"`compile: none`"
        )


def describe(config: ModelConfig, deviation: Deviation, what: str) -> str:
    """Say what was measured and what is allowed."""
    return (
        f"with {asked(config)} output '{deviation.output}' deviates by {deviation.value:.2g} of "
        f"its largest value on {what} ({deviation.rows} rows), {tolerance_of(config):.2g} allowed"
    )


def asked(config: ModelConfig) -> str:
    """Name the settings that may change numbers, as they stand in `model.yaml`."""
    parts = [f"precision {config.precision}"] if config.precision != "fp32" else []
    parts += [f"compile {config.compile}"] if config.compile != "none" else []
    return " and ".join(parts)


def _predict(model: Model, batch: Tensors) -> Prediction:
    if model.capabilities.features:
        return model.predict_with_features(batch)
    return Prediction(model.predict(batch))


def _deviations(
    found: Prediction, expected: Prediction, datatypes: Mapping[str, str]
) -> dict[str, float]:
    deviations = {
        name: _deviation(found.outputs[name], array, datatypes[name])
        for name, array in expected.outputs.items()
    }
    if found.features is not None and expected.features is not None:
        deviations[FEATURES] = _deviation(found.features, expected.features, "FP32")
    return deviations


def _deviation(found: np.ndarray, expected: np.ndarray, datatype: str) -> float:
    if found.shape != expected.shape:
        return float("inf")
    if datatype == "BF16":
        found, expected = bf16_to_fp32(found), bf16_to_fp32(expected)
    if expected.dtype.kind != "f":
        return float(np.mean(found != expected)) if expected.size else 0.0
    finite = np.isfinite(expected)
    # Where there is no number to compare with, the same must have come out.
    if not np.array_equal(found[~finite], expected[~finite], equal_nan=True):
        return float("inf")
    wide, right = found[finite].astype(np.float64), expected[finite].astype(np.float64)
    if not wide.size:
        return 0.0
    if not np.isfinite(wide).all():
        return float("inf")
    return float(np.abs(wide - right).max() / (np.abs(right).max() or 1.0))
