"""Everything that watches one model version: its monitors, its recent rows, its findings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from monitors.finding import Finding
from monitors.performance.forgotten_keys import ForgottenKeys, Key
from monitors.performance.label_join import Ordered
from monitors.performance.label_kinds import ClassLabels
from monitors.performance.labels import (
    CorrectedRow,
    JoinedRow,
    LabelEvent,
    LoggedPrediction,
    corrections,
    joined_rows,
)
from monitors.performance.prediction_entries import Entry
from monitors.rows import Rows
from serving.channel.messages.findings import Unjudged
from serving.channel.messages.observation import LabelCounts
from serving.channel.messages.watched import WatchedMonitor
from serving.config import LABELLED_OUTPUTS
from serving.errors import Unsupported
from serving.models.consumers import LABELS, consumers, reads_inputs
from serving.models.label_kind import label_kind, label_measures
from serving.models.profile.columns import input_columns
from serving.models.repository.folder import ModelEntry
from serving.monitoring.check_time import CheckTime
from serving.monitoring.event_decoding import PredictionEvent
from serving.monitoring.finding_series import FindingSeries
from serving.monitoring.group_coverage import known_groups
from serving.monitoring.judges.descriptor import MonitorDescriptor
from serving.monitoring.judges.listed import MONITORS
from serving.monitoring.judges.monitor_set import MonitorSet
from serving.monitoring.label_series import LabelSeries
from serving.monitoring.labelled_rows import LabelledRows
from serving.monitoring.recent_rows import RecentRows
from serving.monitoring.slice_membership import SliceMembership
from serving.protocol.datatypes import bf16_to_fp32
from serving.telemetry.counters import SeriesSet

RECENT_ROWS: Final = 1000


class LearnedLabels(NamedTuple):
    """Labels that are taken for true from now on, and the version whose predictions they met."""

    model: str
    version: str
    rows: Sequence[JoinedRow | CorrectedRow]


class ModelMonitors:
    """The monitors of one model version.

    Args:
        entry: the version; its profile is read here.
        series: where the findings are published as metrics.
        forgotten: keys of predictions of the model that are not stored any more.
        learned: is told of labels that have met their predictions.
        upstream_as: what counters call the version where it is another server's; empty: it is
            one that is served here.
        monitors: which kinds of monitors there are.

    Attributes:
        entry: the version.
        judges: whether anybody has a use for its predictions.
        time: where the processor time of all that is done for the version is counted.
    """

    def __init__(
        self,
        entry: ModelEntry,
        series: SeriesSet,
        forgotten: ForgottenKeys,
        learned: Callable[[LearnedLabels], None],
        *,
        upstream_as: str = "",
        monitors: Sequence[MonitorDescriptor] = MONITORS,
    ) -> None:
        self.entry = entry
        self._learned = learned
        self.judges = bool(consumers(entry.config))
        told = f" version '{entry.version}' upstream" if upstream_as else ""
        model = f"model '{entry.name}'{told}"
        config = entry.config
        self.time: Final = CheckTime(series, entry.name, upstream_as or entry.version)
        self._series = FindingSeries(series, entry.name, entry.version, upstream_as)
        drift = config.monitors.drift
        self._unanswered = False
        self._slices = SliceMembership(config)
        self._recent = RecentRows(drift.window if drift else RECENT_ROWS)
        self._monitors = MonitorSet(entry, model, self._series, self.time, monitors)
        self._kind = label_kind(config)
        takes = self._kind is not None and LABELS in consumers(config)
        self._truth = None
        if self._kind and takes:
            measures, groups = label_measures(config), known_groups(config)
            self._truth = LabelledRows(self._kind, forgotten, measures, groups)
            self._labels = LabelSeries(series, entry.name, upstream_as or entry.version)
        self._bits = [spec.name for spec in config.outputs if spec.datatype == "BF16"]
        wanted = any(judge.needs.predicted for judge in self._monitors.judges)
        self._compared = config.outputs[0].name if wanted or self._truth else ""

    # -- what happens -------------------------------------------------------------------

    def update(self, event: PredictionEvent, now: float) -> None:
        """Show a batch to every monitor; one that fails does not disturb the others."""
        columns = input_columns(event.inputs, self.entry.config)
        self._recent.append(columns, event.rows, event.request_ids)
        outputs = self._widened(event.outputs)
        predicted, scores, failed = self._predicted(outputs)
        rows = Rows(
            n=event.rows,
            timestamp=event.timestamp,
            columns=columns,
            outputs=outputs,
            groups=self._groups(event, columns),
            scores=scores,
            predicted=predicted,
            request_ids=event.request_ids,
            row_index=event.row_index,
        )
        self._monitors.predicted(rows, now, failed)
        if self._truth:
            self._join(self._truth, rows, failed, now)

    def guarded(self, became: Mapping[str, bytes], timestamp: float, now: float) -> None:
        """Show what became of rows in guards to the monitors of guards.

        Args:
            became: see `EventMeta.guards`.
            timestamp: seconds since the epoch when they were judged.
            now: seconds since the epoch.
        """
        guards = {name: np.frombuffer(flags, np.uint8) for name, flags in became.items()}
        n = max(map(len, guards.values()), default=0)
        if n and all(len(flags) == n for flags in guards.values()):
            self._monitors.guarded(Rows(n=n, timestamp=timestamp, guards=guards), now)

    def asked(self, event: PredictionEvent, now: float) -> None:
        """Show a batch whose answers nobody knows to the monitors of inputs."""
        columns = input_columns(event.inputs, self.entry.config)
        self._recent.append(columns, event.rows, event.request_ids)
        rows = Rows(
            n=event.rows,
            timestamp=event.timestamp,
            columns=columns,
            outputs={},
            groups=self._groups(event, columns),
            predicted=None,
            request_ids=event.request_ids,
            row_index=event.row_index,
        )
        self._unanswered = True
        self._monitors.asked(rows, now)

    def _groups(
        self, event: PredictionEvent, columns: Mapping[str, np.ndarray]
    ) -> Mapping[str, np.ndarray]:
        """Return the groups of rows, and the slices that they are in."""
        slices = self._slices.groups(columns, event.rows)
        return {**event.sensitive_features, **slices} if slices else event.sensitive_features

    def _predicted(
        self, outputs: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray | None, np.ndarray | None, Exception | None]:
        """Return what labels are compared with, and scores; or why there is nothing."""
        if not self._compared:
            return None, None, None
        kind = self._kind or ClassLabels()
        try:
            output = outputs[self._compared]
            return kind.predicted(output), kind.scores(output), None
        except (KeyError, ValueError) as error:
            return None, None, error

    def _widened(self, outputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return outputs as numbers: BF16 travels as its bits."""
        if not self._bits:
            return outputs
        wide = {name: bf16_to_fp32(outputs[name]) for name in self._bits if name in outputs}
        return {**outputs, **wide}

    @property
    def had_rows(self) -> bool:
        """Whether a monitor has ever had rows of this version."""
        return self._monitors.had_rows

    # -- labels -------------------------------------------------------------------------

    def predicted(self, label: LabelEvent) -> bool:
        """Whether a label's prediction was made by this version and is stored."""
        return self._truth is not None and self._truth.knows(label)

    @property
    def takes_labels(self) -> bool:
        """Whether a monitor has a use for them."""
        return self._truth is not None

    def missing(self, keys: Sequence[Key], now: float) -> list[Key]:
        """Return the keys whose prediction is not stored, or takes no label any more."""
        return self._truth.missing(keys, now) if self._truth else []

    def recall(self, predictions: Sequence[LoggedPrediction], now: float) -> set[Key]:
        """Store predictions again that were forgotten; returns the keys of those that are.

        See `LabelJoin.recall` for what is left out.
        """
        return self._truth.recall(predictions, now) if self._truth else set()

    def check_labels(self, labels: Sequence[LabelEvent]) -> None:
        """Find out whether labels can be taken in.

        Raises:
            Unsupported: no monitor has a use for them.
            InvalidInput: a label is of a kind that the model does not take.
        """
        self._labelled_rows().check(labels)

    def label(self, labels: Sequence[LabelEvent], now: float) -> LabelCounts:
        """Join labels with predictions.

        Raises:
            Unsupported: no monitor has a use for them.
            InvalidInput: a label is of a kind that the model does not take; then none was taken in.
        """
        truth = self._labelled_rows()
        began = self.time.clock()
        counts, joined, corrected = truth.labelled(labels, now)
        self.time.checked(LABELS, began)
        self._labels.received(counts)
        self._joined(truth, joined, now, now)
        if corrected:
            self._learned(LearnedLabels(self.entry.name, self.entry.version, corrected))
            if counted := truth.counted(corrected):
                replaced = corrections(counted, now)
                truth.overall.revise(replaced)
                self._monitors.corrected(replaced, now)
        return LabelCounts(counts.accepted, counts.duplicate, counts.unknown, counts.late)

    def order_labels(self, rows: int, seed: int, now: float) -> Ordered:
        """Draw rows to label next. See `LabelJoin.order`.

        Raises:
            Unsupported: no monitor has a use for labels.
        """
        truth = self._labelled_rows()
        ordered = truth.order(rows, seed, now)
        self._count(truth, ordered.released, now, now)
        return ordered

    def _labelled_rows(self) -> LabelledRows:
        if self._truth is None:
            why = (
                "its monitors.performance is null, and it has no fairness"
                if self._kind
                else f"labels are of {LABELLED_OUTPUTS}"
            )
            raise Unsupported(f"model '{self.entry.name}' takes no labels: {why}")
        return self._truth

    def _join(self, truth: LabelledRows, rows: Rows, failed: Exception | None, now: float) -> None:
        began = self.time.clock()
        try:
            if failed is not None:
                raise failed
            joined = truth.predicted(rows)
        except Exception as error:  # noqa: BLE001 - the next batch may be well
            self._monitors.failed(LABELS, error)
            return
        finally:
            self.time.checked(LABELS, began)
        self._monitors.worked(LABELS)
        self._joined(truth, joined, rows.timestamp, now)

    def _joined(
        self, truth: LabelledRows, joined: Sequence[JoinedRow], timestamp: float, now: float
    ) -> None:
        if joined:
            self._learned(LearnedLabels(self.entry.name, self.entry.version, joined))
            self._labels.joined(joined, truth.groups)
            self._count(truth, truth.counted(joined), timestamp, now)

    def _count(
        self, truth: LabelledRows, joined: Sequence[JoinedRow], timestamp: float, now: float
    ) -> None:
        if joined:
            rows = joined_rows(joined, timestamp)
            truth.overall.add(rows)
            self._monitors.labelled(rows, now)

    # -- what it says -------------------------------------------------------------------

    def recent(self) -> dict[str, np.ndarray]:
        """Return the columns of the latest rows.

        Raises:
            Unsupported: inputs are not watched.
        """
        if not reads_inputs(self.entry.config):
            raise Unsupported(
                f"model '{self.entry.name}' has no recent rows to report on: its monitors.drift "
                f"is null in model.yaml"
            )
        return self._recent.columns()

    @property
    def published(self) -> int:
        """How often a monitor has found something."""
        return self._monitors.published

    def findings(self, now: float) -> list[Finding]:
        """Return the latest finding per monitor, metric, subject and segment.

        Those that are stale are unknown.
        """
        return self._monitors.findings(now)

    def watched(self, now: float) -> list[WatchedMonitor]:
        """Return what its monitors watch, how strictly, and what they can see."""
        return self._monitors.watched(now)

    @property
    def unwatched(self) -> list[str]:
        """What is not watched, and why; one sentence each."""
        return self._monitors.unwatched

    def take_passed(self) -> list[Finding]:
        """Return, once, breaches of windows that others have followed; see `Judge.take_passed`."""
        return self._monitors.take_passed()

    @property
    def unjudged(self) -> list[Unjudged]:
        """What is wanted and has no findings, or cannot be relied on."""
        return self._monitors.unjudged

    def refresh(self, now: float) -> None:
        """Let monitors judge by the clock, and bring metrics up to date."""
        self._monitors.tick(now)
        truth = self._truth
        if truth:
            self._labels.expired(truth.expired(now))
            self._series.labels(truth.coverage, truth.overall.scores, truth.groups)

    def hide(self) -> None:
        """Leave no metric behind."""
        self._series.end()

    def end(self) -> None:
        """Leave no metric and no prediction behind: the version is not served any more."""
        self._series.end()
        if self._truth:
            self._truth.forget()

    def forget_requests(self, idents: Collection[str], upto: float) -> tuple[int, int]:
        """Forget requests of clients; what was counted of them stays counted.

        Args:
            idents: the clients' ids.
            upto: see `LabelJoin.forget_requests`.

        Returns:
            How many entries are gone, and the number of the newest one.
        """
        self._recent.forget(idents)
        if self._truth is None:
            return 0, 0
        return self._truth.forget_requests(idents, upto), self._truth.last_number

    @property
    def notes(self) -> list[str]:
        """What is not judged and why, and what drift is compared with; one sentence each."""
        return [*self._monitors.references, *self.not_judged]

    @property
    def not_judged(self) -> list[str]:
        """What is not watched, not judged yet, or failed, and why; one sentence each."""
        unknown = f"outputs of model '{self.entry.name}' are not judged where only requests came"
        return [*self._monitors.not_judged, *([unknown] if self._unanswered else [])]

    def reset_reference(self) -> str:
        """Begin a new live reference; returns its state in a few words.

        Raises:
            Unsupported: drift is not compared with live rows.
        """
        told = self._monitors.reset_reference()
        if not told:
            raise Unsupported(
                f"model '{self.entry.name}' has no live reference: its monitors.drift.reference "
                f"is profile; `vigil profile` makes a new one"
            )
        return told

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the monitors' states as JSON-serialisable values; predictions are entries."""
        labels = {LABELS: self._truth.state()} if self._truth else {}
        return {**labels, **self._monitors.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; a monitor that has changed since begins anew."""
        self._monitors.restore(state)
        if self._truth and LABELS in state:
            self._monitors.go_on(LABELS, self._truth.restore, state)

    def changes(self) -> list[Entry]:
        """Return predictions and labels that differ from those of the last call, as entries."""
        return self._truth.changes() if self._truth else []

    def entries(self) -> Iterator[Entry]:
        """Yield all predictions and labels that are stored, as entries."""
        if self._truth:
            yield from self._truth.entries()

    def restore_entries(self, entries: Sequence[Entry]) -> None:
        """Take in predictions and labels that were saved."""
        if self._truth:
            self._truth.restore_entries(entries)
