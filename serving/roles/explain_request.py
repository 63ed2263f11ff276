"""From an `explain` message to arguments of an explainer, and from its result to the reply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from explain.attribution import Attribution
from serving.channel.explanation import (
    ATTRIBUTION_PREFIX,
    BASELINE_PREFIX,
    CONVERGENCE_DELTA,
    ExplainMeta,
    ExplainReply,
)
from serving.config import ModelConfig
from serving.errors import InvalidInput
from serving.models.profile_files import Baseline
from serving.protocol.datatypes import bf16_to_fp32
from serving.protocol.messages import Tensor

METHOD: Final = "integrated_gradients"
MAX_ROWS: Final = 256
MAX_STEPS: Final = 1024

_DATATYPE_OF: Final = {"float16": "FP16", "float32": "FP32", "float64": "FP64"}


class Question(msgspec.Struct, frozen=True):
    """What to explain, checked.

    Attributes:
        inputs: floating-point arrays by input name; BF16 is widened.
        target: class index per row; None for the predicted one.
        baseline: name of the baseline.
        baselines: its arrays by input name; None for zeros.
        n_steps: steps to begin with; None for the configured number.
    """

    inputs: dict[str, np.ndarray]
    target: list[int] | None
    baseline: str
    baselines: dict[str, np.ndarray] | None
    n_steps: int | None


def read_question(
    meta: ExplainMeta, tensors: Sequence[Tensor], config: ModelConfig, mean: Baseline | None
) -> Question:
    """Check a request; without a baseline it takes the reference's mean where there is one.

    Raises:
        InvalidInput: something is not what the model or the method takes.
    """
    if meta.method not in (None, "auto", METHOD):
        raise InvalidInput(f"method '{meta.method[:40]}' is not offered; use auto or {METHOD}")
    inputs = {
        tensor.name: bf16_to_fp32(tensor.data) if tensor.datatype == "BF16" else tensor.data
        for tensor in tensors
    }
    rows = len(next(iter(inputs.values()))) if inputs else 0
    if not 1 <= rows <= MAX_ROWS:
        raise InvalidInput(f"an explanation takes 1 to {MAX_ROWS} rows, not {rows}")
    if meta.n_steps is not None and not 1 <= meta.n_steps <= MAX_STEPS:
        raise InvalidInput(f"n_steps must be 1 to {MAX_STEPS}")
    target = None if meta.target is None else [_target(meta.target, config)] * rows
    baseline = meta.baseline or ("mean" if mean else "zeros")
    if baseline not in ("zeros", "mean"):
        raise InvalidInput(f"baseline '{baseline[:40]}' is not offered; use zeros or mean")
    if baseline == "mean" and mean is None:
        raise InvalidInput("baseline mean needs a profile of the model; run `vigil profile` first")
    baselines = mean.arrays() if mean and baseline == "mean" else None
    return Question(inputs, target, baseline, baselines, meta.n_steps)


def _target(target: int | str, config: ModelConfig) -> int:
    output = config.outputs[0]
    if isinstance(target, str):
        classes = output.classes or []
        if target not in classes:
            known = f"it has {', '.join(classes)}" if classes else "the model names no classes"
            raise InvalidInput(f"target '{target[:80]}' is no class of the model; {known}")
        return classes.index(target)
    width = output.shape[1] if len(output.shape) == 2 else 0
    if target < 0 or (width > 0 and target >= width):
        limit = f"0 to {width - 1}" if width > 0 else "0 or more"
        raise InvalidInput(f"target {target} is no class of the model; use {limit}")
    return target


def write_answer(found: Attribution, baseline: str) -> tuple[ExplainReply, list[Tensor]]:
    """Return the reply to a question whose baseline was called `baseline`."""
    targets = tuple(int(target) for target in found.target)
    reply = ExplainReply(found.method, targets, baseline, found.n_steps)
    arrays = {
        **{ATTRIBUTION_PREFIX + name: array for name, array in found.values.items()},
        **{BASELINE_PREFIX + name: array for name, array in found.baselines.items()},
        CONVERGENCE_DELTA: found.convergence_delta,
    }
    return reply, [
        Tensor(name, _DATATYPE_OF[array.dtype.name], array.shape, array)
        for name, array in arrays.items()
    ]
