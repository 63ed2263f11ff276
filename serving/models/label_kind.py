"""The kind of labels that a model's configuration asks for, and how answers are scored by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from monitors.performance.label_kinds import ClassLabels, LabelKind, NumberLabels, RankingLabels
from monitors.performance.ranking import RANKING_SCORES
from monitors.performance.regression_error import REGRESSION_ERRORS
from monitors.performance.row_scores import CLASS_SCORES, Measure
from serving.config import ModelConfig, OutputSpec


def label_kind(config: ModelConfig) -> LabelKind | None:
    """Return how labels of a model are read; None where it can have none."""
    kind = config.label_kind
    return None if kind is None else _MADE[kind](config.outputs[0])


def label_measures(config: ModelConfig) -> Sequence[Measure]:
    """Return how answers of a model are scored by its labels."""
    return _SCORED[config.label_kind] if config.label_kind else ()


def _classes(output: OutputSpec) -> LabelKind:
    binary = 2 if output.datatype == "BOOL" else 0
    return ClassLabels(output.classes or (), binary or max((output.shape[1:] or [0])[0], 0))


def _numbers(output: OutputSpec) -> LabelKind:
    length = (output.shape[1:] or [1])[0]
    return NumberLabels(length if length > 1 else 0)


def _ranking(output: OutputSpec) -> LabelKind:
    return RankingLabels(output.shape[1])


_MADE: Final = {"classes": _classes, "numbers": _numbers, "ranking": _ranking}
_SCORED: Final = {
    "classes": CLASS_SCORES,
    "numbers": REGRESSION_ERRORS,
    "ranking": RANKING_SCORES,
}
