"""Brings labels that come late together with the predictions they are about, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from monitors.events import LabelEvent, PredictionEvent
from monitors.predicted_class import predicted_class

Key = tuple[str, int]
Truth = float | str | bool | list[float]


@dataclass(frozen=True, slots=True)
class JoinedRow:
    """A prediction and its truth.

    Attributes:
        predicted: the predicted class index; -1 where the model gave no number.
        y_true: the true class index.
        sensitive_features: values that came with the label and not with the request.
    """

    predicted: int
    y_true: int
    sensitive_features: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """What became of pushed labels; every label is in exactly one of the first four.

    Attributes:
        accepted: joined with a stored prediction.
        duplicate: the row had this very label already.
        unknown: no such prediction yet; kept until it appears or the time to live is over.
        late: the prediction is older than the retention.
        replaced: of the accepted: the row had another label before.
    """

    accepted: int = 0
    duplicate: int = 0
    unknown: int = 0
    late: int = 0
    replaced: int = 0


_NOTHING: Final[frozenset[str]] = frozenset()


@dataclass(slots=True)
class _Row:
    predicted: int
    timestamp: float
    known: frozenset[str]  # attributes that came with the request: names only, never values
    label: int | None = None


class LabelJoin:
    """In-memory join of the predictions of one model with labels, by (request id, row).

    Where several predictions share an id the newest wins, and `ambiguous` counts them. A label
    that replaces another is kept and counted but gives no second joined row: what was judged
    with the first one stays as it was judged.

    Args:
        output_name: the output that holds the scores.
        classes: class names by index, for labels that come as names.
        max_rows: predictions kept, and labels kept for predictions to come; the oldest go first.
        pending_ttl: seconds for which a label waits for its prediction.
        retention: seconds after which a prediction takes no label any more.
    """

    def __init__(
        self,
        output_name: str,
        classes: Sequence[str] = (),
        max_rows: int = 100_000,
        pending_ttl: float = 3600.0,
        retention: float = 30 * 86400.0,
    ) -> None:
        self._output = output_name
        self._classes = {name: index for index, name in enumerate(classes)}
        self._max_rows = max_rows
        self._ttl, self._retention = pending_ttl, retention
        self._rows: OrderedDict[Key, _Row] = OrderedDict()
        self._pending: OrderedDict[Key, tuple[int, Mapping[str, str], float]] = OrderedDict()
        self.expired = 0
        """Labels whose prediction never appeared."""
        self.ambiguous = 0
        """Predictions whose (request id, row) another prediction had before."""

    def class_index(self, y_true: Truth) -> int:
        """Return the class index that a label names.

        Raises:
            ValueError: it is neither a known class name nor a whole number.
        """
        if isinstance(y_true, str) and y_true in self._classes:
            return self._classes[y_true]
        if isinstance(y_true, int) or (isinstance(y_true, float) and y_true.is_integer()):
            return int(y_true)
        raise ValueError("y_true must be a class name of the model or a class index")

    def knows(self, request_id: str, index: int) -> bool:
        """Whether the prediction is stored."""
        return (request_id, index) in self._rows

    def add_event(self, event: PredictionEvent) -> list[JoinedRow]:
        """Store predictions; returns the rows whose label was waiting for them."""
        if not event.rows:
            return []
        joined = []
        sensitive = event.sensitive_features
        predicted = predicted_class(event.outputs[self._output]).tolist()
        for at, key in enumerate(zip(event.request_ids, event.row_index.tolist(), strict=True)):
            known = _NOTHING
            if sensitive:
                known = frozenset(n for n, values in sensitive.items() if values[at] is not None)
            row = _Row(predicted[at], event.timestamp, known)
            self.ambiguous += self._rows.pop(key, None) is not None
            self._rows[key] = row
            waiting = self._pending.pop(key, None)
            if waiting is not None:
                joined.append(_join(row, waiting[0], waiting[1]))
        while len(self._rows) > self._max_rows:
            self._rows.popitem(last=False)
        return joined

    def add_labels(
        self, labels: Sequence[LabelEvent], now: float
    ) -> tuple[LabelCounts, list[JoinedRow]]:
        """Take in labels; returns what became of them, and the rows that have their truth now.

        Args:
            labels: all of them with a `y_true` that `class_index` takes.
            now: seconds since the epoch.

        Raises:
            ValueError: a `y_true` names no class; then no label of this call was taken in.
        """
        truths = [self.class_index(label.y_true) for label in labels]
        counts = dict.fromkeys(("accepted", "duplicate", "unknown", "late", "replaced"), 0)
        joined = []
        for label, truth in zip(labels, truths, strict=True):
            key = (label.request_id, label.index)
            row = self._rows.get(key)
            if row is None:
                waiting = self._pending.pop(key, None)
                counts["duplicate" if waiting and waiting[0] == truth else "unknown"] += 1
                self._pending[key] = (truth, label.sensitive_features, now)
            elif now - row.timestamp > self._retention:
                counts["late"] += 1
            elif row.label == truth:
                counts["duplicate"] += 1
            else:
                counts["accepted"] += 1
                counts["replaced"] += row.label is not None
                if row.label is None:
                    joined.append(_join(row, truth, label.sensitive_features))
                row.label = truth
        self.expire(now)
        return LabelCounts(**counts), joined

    def expire(self, now: float) -> None:
        """Drop labels that have waited too long, or are too many, and count them."""
        while self._pending:
            key, (_, _, since) = next(iter(self._pending.items()))
            if now - since <= self._ttl and len(self._pending) <= self._max_rows:
                return
            del self._pending[key]
            self.expired += 1

    def state(self) -> dict[str, Any]:
        """Return what is stored as JSON values, without any sensitive value."""
        return {
            "rows": [
                [*key, row.predicted, row.timestamp, sorted(row.known), row.label]
                for key, row in self._rows.items()
            ],
            "pending": [[*key, truth, since] for key, (truth, _, since) in self._pending.items()],
            "expired": self.expired,
            "ambiguous": self.ambiguous,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._rows = OrderedDict(
            ((ident, index), _Row(predicted, timestamp, frozenset(known), label))
            for ident, index, predicted, timestamp, known, label in state["rows"]
        )
        self._pending = OrderedDict(
            ((ident, index), (truth, {}, since)) for ident, index, truth, since in state["pending"]
        )
        self.expired, self.ambiguous = state["expired"], state["ambiguous"]


def _join(row: _Row, truth: int, sensitive: Mapping[str, str]) -> JoinedRow:
    row.label = truth
    learned = {name: value for name, value in sensitive.items() if name not in row.known}
    return JoinedRow(row.predicted, truth, learned)
