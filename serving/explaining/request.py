"""From an `explain` message to arguments of an explainer, and from its result to the reply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from explain.attribution import Attribution
from serving.channel.messages.explanation import (
    ATTRIBUTION_PREFIX,
    BASELINE_PREFIX,
    CONVERGENCE_DELTA,
    ExplainMeta,
    ExplainReply,
)
from serving.config import ModelConfig
from serving.config.explainers.descriptor import ExplainerDescriptor
from serving.config.explainers.listed import AUTO, explainer_named, method_names
from serving.errors import InvalidInput, Unsupported
from serving.models.profile.files import Baseline
from serving.protocol.datatypes import NUMPY_OF, bf16_to_fp32
from serving.protocol.messages import Tensor

MAX_ROWS: Final = 256

# BF16 is widened to FP32 before it is explained.
_DATATYPE_OF: Final = {dtype: name for name, dtype in NUMPY_OF.items() if name != "BF16"}


class Question(msgspec.Struct, frozen=True):
    """What to explain, checked.

    Attributes:
        method: how to explain it.
        inputs: arrays by input name; BF16 is widened to float32.
        target: class index per row; None for the predicted one.
        baseline: name of the baseline.
        baselines: its arrays by input name; None for zeros.
        effort: steps or samples, in the method's unit; None for the configured number.
        traceparent: see `ExplainMeta`.
    """

    method: str
    inputs: dict[str, np.ndarray]
    target: list[int] | None
    baseline: str
    baselines: dict[str, np.ndarray] | None
    effort: int | None
    traceparent: str = ""


def read_question(
    meta: ExplainMeta,
    tensors: Sequence[Tensor],
    config: ModelConfig,
    mean: Baseline | None,
    offered: Sequence[str],
) -> Question:
    """Check a request; without a baseline it takes the reference's mean where there is one.

    Args:
        meta, tensors: the request.
        config: of the model.
        mean: typical values of the reference; None without a profile.
        offered: methods that the model allows, the best one first.

    Raises:
        InvalidInput: something is not what the model or the method takes.
        Unsupported: the model does not allow the method.
    """
    method = _method(meta.method, config, offered)
    inputs = {
        tensor.name: bf16_to_fp32(tensor.data) if tensor.datatype == "BF16" else tensor.data
        for tensor in tensors
    }
    rows = len(next(iter(inputs.values()))) if inputs else 0
    if not 1 <= rows <= MAX_ROWS:
        raise InvalidInput(f"an explanation takes 1 to {MAX_ROWS} rows, not {rows}")
    if empty := [name for name, array in inputs.items() if not array.size]:
        raise InvalidInput(f"input '{empty[0]}' has no elements, so there is nothing to explain")
    effort = _effort(meta, method)
    target = None if meta.target is None else [_target(meta.target, config)] * rows
    baseline = meta.baseline or ("mean" if mean else "zeros")
    if baseline not in ("zeros", "mean"):
        raise InvalidInput(f"baseline '{baseline[:40]}' is not offered; use zeros or mean")
    if baseline == "mean" and mean is None:
        raise InvalidInput("baseline mean needs a profile of the model; run `vigil profile` first")
    baselines = mean.arrays() if mean and baseline == "mean" else None
    return Question(method.name, inputs, target, baseline, baselines, effort, meta.traceparent)


def _method(asked: str | None, config: ModelConfig, offered: Sequence[str]) -> ExplainerDescriptor:
    configured = config.explain.method if config.explain else AUTO
    wanted = configured if asked in (None, AUTO) else asked
    if wanted == AUTO:
        return explainer_named(offered[0])
    if wanted not in method_names():
        known = ", ".join(method_names())
        raise InvalidInput(f"method '{wanted[:40]}' is not offered; use one of {known}")
    if wanted not in offered:
        raise Unsupported(
            f"{wanted} needs a differentiable model whose inputs are all floating-point; "
            f"use method {' or '.join(offered)}"
        )
    return explainer_named(wanted)


def _effort(meta: ExplainMeta, method: ExplainerDescriptor) -> int | None:
    own = method.effort
    for name in meta.effort:
        if own is None or name != own.name:
            takes = "" if own is None else f"; it takes {own.name}"
            raise InvalidInput(f"method {method.name} takes no {name[:40]}{takes}")
    if own is None or own.name not in meta.effort:
        return None
    effort = meta.effort[own.name]
    if not 1 <= effort <= own.most:
        raise InvalidInput(f"{own.name} must be 1 to {own.most}")
    return effort


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


def write_answer(
    found: Attribution, baseline: str, version: str = ""
) -> tuple[ExplainReply, list[Tensor]]:
    """Return the reply to a question whose baseline was called `baseline`.

    `version` is that of a model on another server, where it is not the served one.
    """
    targets = tuple(int(target) for target in found.target)
    reply = ExplainReply(found.method, targets, baseline, dict(found.effort), version)
    arrays = {
        **{ATTRIBUTION_PREFIX + name: array for name, array in found.values.items()},
        **{BASELINE_PREFIX + name: array for name, array in found.baselines.items()},
        CONVERGENCE_DELTA: found.convergence_delta,
    }
    return reply, [
        Tensor(name, _DATATYPE_OF[array.dtype], array.shape, array)
        for name, array in arrays.items()
    ]
