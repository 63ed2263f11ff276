"""What becomes known about a classifier once labels come: which of its rows were right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from monitors.accuracy import AccuracyMonitor
from monitors.events import LabelEvent, PredictionEvent
from monitors.finding import Finding
from monitors.label_join import JoinedRow, LabelJoin
from serving.channel.observation import LabelCounts
from serving.config import ModelConfig, OutputSpec
from serving.errors import InvalidInput

WINDOW: Final = 200
"""Labelled rows per verdict: few, because labels are rarer than predictions."""


class TruthWatch:
    """Joins predictions of one model version with their labels and keeps its accuracy.

    Args:
        output: the output that holds the scores; see `names_class`.
    """

    def __init__(self, output: OutputSpec) -> None:
        self._classes = len(output.classes or []) or (output.shape[1:] or [0])[0]
        self._join = LabelJoin(output.name, output.classes or ())
        # The configuration names no minimum, so nothing is ever below it.
        self._accuracy = AccuracyMonitor(minimum=0.0, window=WINDOW)
        self._predictions = 0
        self._labelled = 0

    @property
    def coverage(self) -> float:
        """Share of the predictions whose label is known."""
        return self._labelled / self._predictions if self._predictions else 0.0

    def predicted(self, event: PredictionEvent) -> list[JoinedRow]:
        """Take in predictions; returns the rows whose label was here already."""
        self._predictions += event.rows
        return self._judge(self._join.add_event(event), event.timestamp)

    def knows(self, label: LabelEvent) -> bool:
        """Whether the label's prediction is stored."""
        return self._join.knows(label.request_id, label.index)

    def check(self, labels: Sequence[LabelEvent]) -> None:
        """Find out whether labels can be taken in.

        Raises:
            InvalidInput: a label names no class of the model.
        """
        for label in labels:
            try:
                index = self._join.class_index(label.y_true)
            except ValueError as error:
                raise InvalidInput(f"labels: {error}") from None
            if index < 0 or (self._classes > 0 and index >= self._classes):
                raise InvalidInput(
                    f"labels: class index {index} is not one of the model's, "
                    f"0 to {self._classes - 1}"
                )

    def labelled(
        self, labels: Sequence[LabelEvent], now: float
    ) -> tuple[LabelCounts, list[JoinedRow]]:
        """Take in labels; returns what became of them and the rows whose label is known now.

        Raises:
            InvalidInput: a label names no class of the model; then none was taken in.
        """
        self.check(labels)
        counts, joined = self._join.add_labels(labels, now)
        told = LabelCounts(counts.accepted, counts.duplicate, counts.unknown, counts.late)
        return told, self._judge(joined, now)

    def evaluate(self) -> list[Finding]:
        """Return the findings of the last window of labelled rows."""
        return self._accuracy.evaluate()

    def state(self) -> dict[str, Any]:
        """Return everything as JSON-serialisable values, without any sensitive value."""
        return {
            "join": self._join.state(),
            "accuracy": self._accuracy.state(),
            "predictions": self._predictions,
            "labelled": self._labelled,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._join.restore(state["join"])
        self._accuracy.restore(state["accuracy"])
        self._predictions, self._labelled = state["predictions"], state["labelled"]

    def _judge(self, joined: list[JoinedRow], timestamp: float) -> list[JoinedRow]:
        if joined:
            self._labelled += len(joined)
            self._accuracy.update(joined, timestamp)
        return joined


def class_output(config: ModelConfig) -> OutputSpec | None:
    """Return the output that names a class per row; None for models that are no classifiers."""
    output = config.outputs[0]
    if len(output.shape) == 1:
        return output if output.datatype.startswith(("INT", "UINT", "BOOL")) else None
    scores = len(output.shape) == 2 and (output.classes or output.shape[1] >= 2)
    numeric = output.datatype not in ("BYTES", "BOOL", "BF16")
    return output if scores and numeric else None
