"""What a version answers to reference rows: the reference that its later answers have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from monitors.reference.profile import ReferenceProfile
from serving.models.consumers import fixed_outputs
from serving.models.contract import Tensors
from serving.models.formats.loader import load
from serving.models.preparation import deviation
from serving.models.profile.columns import answer_columns
from serving.models.repository.folder import ModelEntry
from serving.protocol.datatypes import bf16_to_fp32

ANSWERED_ROWS: Final = 10_000
"""Most rows that the model is asked for, spread over all."""

_BATCH: Final = 256


def uncompiled(entry: ModelEntry) -> ModelEntry:
    """Return the version as it was made, in the precision that it is served in."""
    made = deviation.as_made(entry).config
    return replace(entry, config=made.model_copy(update={"precision": entry.config.precision}))


def answers_of(
    entry: ModelEntry,
    inputs: Tensors,
    times: np.ndarray | None,
    told: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> ReferenceProfile | None:
    """Return the profile of a version's answers; None where there are none to compare with.

    Args:
        entry: the version.
        inputs: reference rows.
        times: their event times in seconds since the epoch, float64 [n]; None: in no order.
        told: is told why there is no profile.
        progress: is told how many rows of how many are answered.
    """
    if not fixed_outputs(entry.config):
        told("drift of answers: no output has rows of one shape, so it is not watched")
        return None
    later = "it will be compared with the first answers that are served"
    if entry.config.descriptor.elsewhere:
        told(f"drift of answers: the model is on another server; {later}")
        return None
    n = len(next(iter(inputs.values())))
    kept = np.unique(np.linspace(0, n - 1, min(n, ANSWERED_ROWS)).astype(np.int64))
    try:
        outputs = answered(entry, {name: each[kept] for name, each in inputs.items()}, progress)
        columns = answer_columns(outputs, entry.config)
        return ReferenceProfile.fit(columns, times=None if times is None else times[kept])
    except Exception as error:  # noqa: BLE001 - a model's own code fails in its own ways
        reason = str(error).partition("\n")[0][:200]
        told(
            f"drift of answers: the model cannot answer these rows "
            f"({type(error).__name__}: {reason}); {later}"
        )
        return None


def answered(
    entry: ModelEntry, inputs: Tensors, progress: Callable[[int, int], None]
) -> dict[str, np.ndarray]:
    """Return what a version answers to rows, by output; BF16 widened.

    Args:
        entry: the version.
        inputs: rows.
        progress: is told how many rows of how many are answered.
    """
    model = load(uncompiled(entry), "cpu")
    rows = len(next(iter(inputs.values())))
    found = []
    for start in range(0, rows, _BATCH):
        batch = {name: array[start : start + _BATCH] for name, array in inputs.items()}
        found.append(model.predict(batch))
        progress(min(start + _BATCH, rows), rows)
    bits = {spec.name for spec in entry.config.outputs if spec.datatype == "BF16"}
    outputs = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    return {name: bf16_to_fp32(array) if name in bits else array for name, array in outputs.items()}
