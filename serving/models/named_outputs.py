"""Outputs by their names, taken from whatever a model returns; needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from serving.errors import ModelFailed, listed
from serving.telemetry.logs.causes import Cause


class OutputMissing(ModelFailed):
    """The model computed, and what it returned lacks an output that `model.yaml` declares.

    Args:
        message: one sentence for the client; it may name what was returned.
        told: the same as a clause for the log, which gets nothing that a model returns.
    """

    def __init__(self, message: str, told: str = "") -> None:
        super().__init__(message)
        self.cause = Cause("OutputMissing", told=told) if told else None


def by_name(result: Any) -> Mapping[str, Any] | None:
    """Return the parts of a dict, `ModelOutput`, dataclass or NamedTuple; None of anything else."""
    if isinstance(result, Mapping):
        return result
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    names = getattr(type(result), "__match_args__", ())  # of NamedTuples, among others
    if names:
        return {name: getattr(result, name) for name in names}
    is_like_a_mapping = hasattr(result, "keys") and hasattr(result, "__getitem__")
    return {name: result[name] for name in result.keys()} if is_like_a_mapping else None  # noqa: SIM118


def no_output(model: str, name: str, returned: Iterable[object]) -> OutputMissing:
    """Return the error for an output that is not among the names that a model returned."""
    return OutputMissing(
        f"model '{model}' failed: it returned {listed(returned, 'nothing')}, model.yaml declares "
        f"'{name}'; give outputs the names that it returns",
        told=f"model '{model}' returned no output '{name}', which model.yaml declares",
    )
