"""The rows that a report is about: those of the log, or the latest that the monitor has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from monitors.performance.label_kinds import ClassLabels
from monitors.performance.metrics.estimate import Outcomes
from serving.backtest.happenings import Labelled, Past, Predicted
from serving.config import ModelConfig
from serving.models.label_kind import label_kind
from serving.models.profile.columns import input_columns
from serving.protocol.datatypes import bf16_to_fp32

MOST_ROWS: Final = 50_000
MOST_BYTES: Final = 256 << 20
"""Of all rows together, as wide as their configuration says; wide ones are fewer."""


@dataclass(frozen=True, slots=True)
class ReportRows:
    """Rows in the order of their times.

    Attributes:
        times: seconds since the epoch, float64 [n].
        columns: of the inputs by name, [n] each.
        predicted: see `LabelKind.predicted`, [n, ...]; None where nothing is compared.
        scores: of the classes, [n, classes]; None: there are none.
        labelled: whether a row has a label, bool [n].
        labels: of the rows that have one, in their order.
        groups: sensitive values as text by attribute, None where there is none, objects [n] each.
        notes: what the rows lack, one sentence each.
    """

    times: np.ndarray
    columns: Mapping[str, np.ndarray]
    predicted: np.ndarray | None
    scores: np.ndarray | None
    labelled: np.ndarray
    labels: np.ndarray
    groups: Mapping[str, np.ndarray]
    notes: Sequence[str] = ()

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.times)

    def outcomes(self, which: np.ndarray | None = None) -> Outcomes:
        """Return what labelled rows are measured by.

        Args:
            which: of all rows, bool [n]; None: all that have a label.
        """
        assert self.predicted is not None
        chosen = self.labelled if which is None else self.labelled & which
        scores = None if self.scores is None else self.scores[chosen]
        return Outcomes(self.predicted[chosen], self.labels[chosen[self.labelled]], scores)


def most_rows(config: ModelConfig) -> int:
    """Return how many rows of a model a report reads at most."""
    shapes = [each.shape for each in config.inputs] + [each.shape for each in config.outputs]
    values = sum(math.prod(max(size, 1) for size in (shape or [1])[1:]) for shape in shapes)
    return max(min(MOST_ROWS, MOST_BYTES // (8 * max(values, 1))), 1000)


def read_rows(past: Past, config: ModelConfig) -> ReportRows:
    """Return the rows of a past.

    Raises:
        ValueError: a label is of another kind than the configuration says.
    """
    truth: dict[tuple[str, int], Any] = {}
    events: list[Predicted] = []
    kind = label_kind(config)
    for happened in past:
        if isinstance(happened, Predicted):
            events.append(happened)
        elif isinstance(happened, Labelled) and kind is not None:
            for label in happened.labels:
                truth[label.request_id, label.index] = kind.read(label.y_true)
    notes = list(past.notes)
    truths = [
        truth.get((ident, at))
        for each in events
        for ident, at in zip(each.event.request_ids, each.event.row_index.tolist(), strict=True)
    ]
    labelled = np.array([one is not None for one in truths], np.bool_)
    predicted, scores = _answers(events, config)
    if predicted is None:
        labelled[:] = False
        notes.append("the model's answers are neither classes, numbers nor rankings")
    return ReportRows(
        times=np.concatenate([np.full(each.event.rows, each.time) for each in events]),
        columns=_joined([input_columns(each.event.inputs, config) for each in events]),
        predicted=predicted,
        scores=scores,
        labelled=labelled,
        labels=np.array([one for one, known in zip(truths, labelled, strict=True) if known]),
        groups=_joined([each.event.sensitive_features for each in events]),
        notes=tuple(dict.fromkeys(notes)),
    )


def recent_rows(columns: Mapping[str, np.ndarray]) -> ReportRows:
    """Return rows of which only the inputs are known."""
    rows = len(next(iter(columns.values()))) if columns else 0
    nothing = np.zeros(0)
    return ReportRows(
        np.zeros(rows), columns, None, None, np.zeros(rows, np.bool_), nothing, {}, ()
    )  # fmt: skip


def with_note(rows: ReportRows, note: str) -> ReportRows:
    """Return the rows with one more thing that they lack."""
    return replace(rows, notes=(*rows.notes, note))


def _answers(
    events: Sequence[Predicted], config: ModelConfig
) -> tuple[np.ndarray | None, np.ndarray | None]:
    kind = label_kind(config)
    if kind is None:
        if config.fairness is None:
            return None, None
        kind = ClassLabels(config.outputs[0].classes or ())
    output = config.outputs[0]
    predicted, scores = [], []
    for each in events:
        answers = each.event.outputs.get(output.name)
        if answers is None:
            return None, None
        answers = bf16_to_fp32(answers) if output.datatype == "BF16" else answers
        predicted.append(kind.predicted(answers))
        scores.append(kind.scores(answers))
    known = [each for each in scores if each is not None]
    return (
        np.concatenate(predicted),
        np.concatenate(known) if len(known) == len(events) else None,
    )


def _joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the columns that all parts have."""
    names = [name for name in parts[0] if all(name in part for part in parts)] if parts else []
    return {name: np.concatenate([part[name] for part in parts]) for name in names}
