"""What clients rely on of a model: the names, datatypes, shapes and classes of its tensors."""

from __future__ import annotations

from collections.abc import Sequence

from serving.config.model import ModelConfig
from serving.config.tensor_specs import InputSpec, OutputSpec

Spec = InputSpec | OutputSpec


def signature_difference(before: ModelConfig, after: ModelConfig) -> str | None:
    """Say what a client of `before` would stumble over at `after`; None where there is nothing.

    Both are whole configurations, with inputs and outputs as they are served. The order of
    tensors does not count, because clients name them.

    Returns:
        A part of a sentence on the first difference, for example `output 'y' is FP64, not FP32`.
    """
    found = _differing("input", before.inputs, after.inputs)
    found = found or _differing("output", before.outputs, after.outputs)
    if found is None and before.row_axis != after.row_axis:
        return f"its tensors have {'a' if after.row_axis else 'no'} row axis now"
    return found


def _differing(kind: str, before: Sequence[Spec], after: Sequence[Spec]) -> str | None:
    old, new = ({spec.name: spec for spec in specs} for specs in (before, after))
    if gone := sorted(old.keys() - new.keys()):
        return f"{kind} '{gone[0]}' is gone{_there(kind, new.keys() - old.keys())}"
    # An output more disturbs nobody; an input more is one that no client sends.
    if kind == "input" and (more := sorted(new.keys() - old.keys())):
        return f"{kind} '{more[0]}' is new"
    for name, spec in old.items():
        if found := _spec_difference(spec, new[name]):
            return f"{kind} '{name}' {found}"
    return None


def _there(kind: str, names: set[str]) -> str:
    return f" and {kind} '{min(names)}' is new" if names else ""


def _spec_difference(old: Spec, new: Spec) -> str | None:
    if old.datatype != new.datatype:
        return f"is {new.datatype}, not {old.datatype}"
    if old.shape != new.shape:
        return f"has shape {new.shape}, not {old.shape}"
    if isinstance(old, InputSpec) and isinstance(new, InputSpec):
        if old.rowless != new.rowless:
            return "has no rows now" if new.rowless else "has rows now"
        if old.sensitive != new.sensitive:
            return "is sensitive now" if new.sensitive else "is no longer sensitive"
        return _columns(old, new)
    if isinstance(old, OutputSpec) and isinstance(new, OutputSpec):
        if old.method and new.method and old.method != new.method:
            return f"is what `{new.method}` gives, not `{old.method}`"
        return _listed("classes", old.classes, new.classes)
    return None


def _columns(old: InputSpec, new: InputSpec) -> str | None:
    names = [[column.name for column in spec.features or ()] for spec in (old, new)]
    return _listed("columns", *names)


def _listed(what: str, old: Sequence[str] | None, new: Sequence[str] | None) -> str | None:
    """Compare two lists whose order counts; one that only says more than before is the same."""
    if not old or old == new:
        return None
    if not new:
        return f"has no {what} any more"
    if len(old) != len(new):
        return f"has {len(new)} {what}, not {len(old)}"
    place = next(
        index for index, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]
    )
    return f"has '{new[place]}' as number {place} of its {what}, not '{old[place]}'"
