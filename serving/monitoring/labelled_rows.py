"""What becomes known about a model version once labels come: the truth about its rows."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from monitors.performance.forgotten_keys import ForgottenKeys, Key
from monitors.performance.label_join import Joined, LabelJoin, Ordered
from monitors.performance.label_kinds import LabelKind
from monitors.performance.label_orders import LabelOrders
from monitors.performance.labels import CorrectedRow, JoinedRow, LabelEvent, LoggedPrediction
from monitors.performance.overall import OverallScores
from monitors.performance.prediction_entries import Entry
from monitors.performance.row_scores import Measure
from monitors.rows import Rows
from serving.errors import InvalidInput
from serving.monitoring.group_coverage import GroupCoverage

Row = TypeVar("Row", JoinedRow, CorrectedRow)


class LabelledRows:
    """Joins predictions of one model version with their labels; monitors judge what is joined.

    Args:
        kind: what its labels are.
        measures: what is scored.
        groups: the known groups by name of a sensitive attribute; labels may tell of no other.
        forgotten: keys of predictions of the model that are not stored any more.
    """

    def __init__(
        self,
        kind: LabelKind,
        forgotten: ForgottenKeys,
        measures: Sequence[Measure] = (),
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._join = LabelJoin(kind, forgotten=forgotten)
        self._predictions = 0
        self._expired = 0
        self.groups = GroupCoverage(groups or {})
        self._attributes = frozenset(groups or {})
        self.overall = OverallScores(measures)
        self._orders = LabelOrders()

    @property
    def coverage(self) -> float:
        """Share of the predictions whose label is known; NaN without predictions."""
        return self._join.labelled / self._predictions if self._predictions else math.nan

    def predicted(self, rows: Rows) -> list[JoinedRow]:
        """Take in predictions; returns the rows whose label was here already."""
        self._predictions += rows.n
        self.groups.predicted(rows)
        return self._join.add(rows)

    def knows(self, label: LabelEvent) -> bool:
        """Whether the label's prediction is stored."""
        return self._join.knows(label.request_id, label.index)

    def missing(self, keys: Sequence[Key], now: float) -> list[Key]:
        """Return the keys whose prediction may be worth recalling."""
        return self._join.missing(keys, now)

    def recall(self, predictions: Sequence[LoggedPrediction], now: float) -> set[Key]:
        """Store predictions again; returns the keys of those that are. See `LabelJoin.recall`."""
        return self._join.recall(predictions, now)

    def check(self, labels: Sequence[LabelEvent]) -> None:
        """Find out whether labels can be taken in.

        Raises:
            InvalidInput: a label is of a kind that the model does not take.
        """
        try:
            self._join.read(labels)
        except ValueError as error:
            raise InvalidInput(f"labels: {error}") from None

    def labelled(self, labels: Sequence[LabelEvent], now: float) -> Joined:
        """Take in labels; returns what became of them and of the rows.

        Raises:
            InvalidInput: a label is of a kind that the model does not take; then none was taken in.
        """
        self.check(labels)
        return self._join.add_labels([self._declared(label) for label in labels], now)

    def _declared(self, label: LabelEvent) -> LabelEvent:
        """Return a label with those sensitive values that somebody has asked for.

        Clients may name any attribute, and each would have a column of its own.
        """
        told = label.sensitive_features
        if told.keys() <= self._attributes:
            return label
        wanted = {name: value for name, value in told.items() if name in self._attributes}
        return replace(label, sensitive_features=wanted)

    def order(self, rows: int, seed: int, now: float) -> Ordered:
        """Draw rows to label. See `LabelJoin.order`."""
        return self._join.order(self._orders, rows, seed, now)

    def counted(self, rows: Sequence[Row]) -> list[Row]:
        """Return the labelled rows whose labels count in what is measured.

        Those of rows that were ordered because they look hard do not.
        """
        return [row for row in rows if not self._orders.held_out(row.key)]

    def expired(self, now: float) -> int:
        """Drop labels that have waited too long; returns how many have been since the last call."""
        self._join.expire(now)
        before, self._expired = self._expired, self._join.expired
        return self._expired - before

    def forget(self) -> None:
        """Forget every prediction: labels of them are late from now on."""
        self._join.forget()

    @property
    def last_number(self) -> int:
        """The number of the newest entry."""
        return self._join.last_number

    def forget_requests(self, idents: Collection[str], upto: float) -> int:
        """Forget requests; returns how many entries are gone. See `LabelJoin.forget_requests`."""
        self._orders.forget_requests(idents)
        return self._join.forget_requests(idents, upto)

    def state(self) -> dict[str, Any]:
        """Return counts as JSON-serialisable values; predictions are entries."""
        join = self._join.state()
        return {
            "labelled": join.pop("labelled"),
            "join": join,
            "predictions": self._predictions,
            "overall": self.overall.state(),
            "groups": self.groups.state(),
            "orders": self._orders.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        predictions = state["predictions"]
        self._join.restore({**state["join"], "labelled": state["labelled"]})
        if "overall" in state:
            self.overall.restore(state["overall"])
        # Which were not saved at first.
        self.groups.restore(state.get("groups", {}))
        self._orders.restore(state.get("orders", ()))
        self._predictions, self._expired = predictions, self._join.expired

    def changes(self) -> list[Entry]:
        """Return the entries that differ from those of the last call; see `LabelJoin.changes`."""
        return self._join.changes()

    def entries(self) -> Iterator[Entry]:
        """Yield all entries; see `LabelJoin.entries`."""
        return self._join.entries()

    def restore_entries(self, entries: Iterable[Entry]) -> None:
        """Take in predictions and labels that were saved."""
        self._join.restore_entries(entries)
