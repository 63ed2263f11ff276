"""The monitor's state without its sockets: books, watches, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from time import thread_time_ns
from typing import Any

from monitors.performance.forgotten_keys import Key
from monitors.performance.group_values import groups_of
from monitors.performance.labels import LabelEvent, LoggedPrediction
from monitors.performance.prediction_entries import Entry
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.findings import FindingRecord, ModelFindings, Unjudged
from serving.channel.messages.observation import (
    ANSWERED,
    ASKED,
    EventMeta,
    LabelCounts,
    LabelsMeta,
    LabelsWantedMeta,
    LabelsWantedReply,
    Position,
    RecalledMeta,
    RecalledRow,
    WantedRow,
)
from serving.channel.messages.reports import EventCounts, MonitorStatus
from serving.channel.messages.watched import WatchedModel
from serving.errors import InvalidInput, unknown_model
from serving.monitoring.delivery_accounting import DeliveryAccounting
from serving.monitoring.event_decoding import read_event, read_label
from serving.monitoring.finding_records import record
from serving.monitoring.judges.descriptor import MonitorDescriptor
from serving.monitoring.judges.listed import MONITORS
from serving.monitoring.model_monitors import ModelMonitors
from serving.monitoring.monitored_versions import Changes, MonitoredVersions
from serving.protocol.messages import Tensor
from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.metrics.cost import MODEL_CPU_TIME, MONITOR, NO_MODEL
from serving.telemetry.metrics.events import EVENTS_LOST, EVENTS_RECEIVED, MONITOR_LAG
from serving.telemetry.processor_time import Clock, processor_time
from serving.telemetry.series import Series


class MonitoringService:
    """Watches every served model version. Belongs to one thread.

    Args:
        clock: seconds since the epoch.
        monitors: which kinds of monitors there are.
        spent: processor seconds of this process.

    Attributes:
        delivery: what was received and what is lost.
        unwatched: rows received for versions that are not watched (any more, or yet).
        notices: asked for what else people must know, in a sentence each; empty: nothing.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        monitors: Sequence[MonitorDescriptor] = MONITORS,
        spent: Clock = processor_time,
    ) -> None:
        self._clock = clock
        self._processor_time = spent
        self.delivery = DeliveryAccounting()
        self.unwatched = 0
        self.notices: list[Callable[[], str]] = []
        self._series = SeriesSet()
        self._received = self._series.sum(EVENTS_RECEIVED)
        self._lost = self._series.sum(EVENTS_LOST)
        self._lost_before = 0
        self._lag = self._series.gauge(MONITOR_LAG)
        self._worst_lag = 0.0
        self._rest = self._series.sum(MODEL_CPU_TIME, model=NO_MODEL, version="", role=MONITOR)
        self.watches = MonitoredVersions(self._series, clock, monitors)

    def serve(self, models: Sequence[ServedModel]) -> None:
        """Watch these model versions and no others; one that changed is watched anew."""
        self.watches.serve(models)

    # -- what happens -------------------------------------------------------------------

    def at(self, position: Position) -> None:
        """Count what a gateway has sent and this monitor has not received."""
        self.delivery.at(position)
        self._count_lost()

    def observe(self, meta: EventMeta, tensors: Sequence[Tensor]) -> bool:
        """Take in one message of predictions; False: it was here before and changes nothing."""
        began = thread_time_ns()
        rows = sum(meta.rows)
        if not self.delivery.arrived(meta.position, len(meta.ids), rows):
            return False
        self._received.add(rows)
        self._count_lost()
        self._worst_lag = max(self._worst_lag, self._clock() - meta.timestamp)
        if meta.guards:
            self._guarded(meta)
        # What has no tensors, or a version that nobody judges, is for other consumers alone.
        judged = meta.kind in (ANSWERED, ASKED) and rows and tensors
        if judged and self.watches.judges(meta.model, meta.version):
            self._judge(meta, tensors, rows, began)
        return True

    def _guarded(self, meta: EventMeta) -> None:
        watch = self.watches.answered(meta.model, meta.version, meta.upstream)
        if watch is not None:
            began = thread_time_ns()
            watch.guarded(meta.guards, meta.timestamp, self._clock())
            watch.time.worked(began)

    def _judge(self, meta: EventMeta, tensors: Sequence[Tensor], rows: int, began: int) -> None:
        try:
            event = read_event(meta, tensors)
        except InvalidInput as error:
            report(
                Event.OBSERVATION_FAILED,
                "a message of predictions cannot be read, and its rows are not watched",
                model=meta.model,
                version=meta.version,
                error=error,
                gateway=meta.position.gateway,
                rows=rows,
            )
            self.unwatched += rows
            return
        watch = self.watches.answered(meta.model, meta.version, meta.upstream)
        if watch is None:
            self.unwatched += rows
        elif meta.kind == ASKED:
            watch.asked(event, self._clock())
            watch.time.worked(began)
        else:
            watch.update(event, self._clock())
            watch.time.worked(began)

    def _count_lost(self) -> None:
        # What was lost before a restart is in the totals of the process that counted it.
        self._lost.value = max(self._lost.value, self.delivery.lost.rows - self._lost_before)

    def label(self, pushed: LabelsMeta) -> LabelCounts:
        """Join labels with predictions of the version that made them.

        A label whose prediction is not there yet waits at the newest version.

        Raises:
            ModelNotFound: the model is not watched.
            Unsupported: no monitor of it has a use for labels.
            InvalidInput: a label is of a kind that the model does not take; then none was taken in.
        """
        newest_first = self.watches.newest_first(pushed.model)
        if not newest_first:
            raise unknown_model(pushed.model[:200])
        labels = list(map(read_label, pushed.labels))
        shares = _shares(newest_first, labels) if len(newest_first) > 1 else {0: labels}
        for at, share in shares.items():
            newest_first[at].check_labels(share)
        now = self._clock()
        return _sum([_label(newest_first[at], share, now) for at, share in shares.items()])

    def order_labels(self, wanted: LabelsWantedMeta) -> LabelsWantedReply:
        """Draw rows of a model to label next, of its newest version that has rows without labels.

        Raises:
            ModelNotFound: the model is not watched.
            Unsupported: no monitor of it has a use for labels.
        """
        newest_first = self.watches.newest_first(wanted.model)
        if not newest_first:
            raise unknown_model(wanted.model[:200])
        now = self._clock()
        reply = None
        for watch in newest_first:
            if not watch.takes_labels and reply is not None:
                continue
            found = watch.order_labels(wanted.rows, wanted.seed, now)
            rows = tuple(
                WantedRow(*each.key, each.propensity, each.at_random) for each in found.wanted
            )
            reply = LabelsWantedReply(watch.entry.version, found.pool, rows)
            if rows:
                break
        assert reply is not None
        return reply

    def missing(self, pushed: LabelsMeta) -> list[Key]:
        """Return the predictions that labels are about and that no version stores.

        None where no version takes labels.
        """
        keys = list(dict.fromkeys((label.request_id, label.index) for label in pushed.labels))
        now = self._clock()
        found: list[Key] = []
        for watch in self.watches.newest_first(pushed.model):
            if watch.takes_labels:
                keys = found = watch.missing(keys, now)
        return found

    def recalled(self, meta: RecalledMeta) -> None:
        """Store predictions again that labels are about which come next.

        Labels of those that cannot be stored are late.
        """
        now = self._clock()
        lacking = {(row.request_id, row.index) for row in meta.rows}
        for watch in self.watches.newest_first(meta.model):
            if watch.takes_labels:
                lacking.intersection_update(watch.missing(list(lacking), now))
        versions: dict[str, list[RecalledRow]] = {}
        for row in meta.rows:
            if (row.request_id, row.index) in lacking:
                versions.setdefault(row.version, []).append(row)
        for version, rows in versions.items():
            stored: set[Key] = set()
            made_it = self.watches.version(meta.model, version)
            if made_it is not None:
                stored = made_it.recall([_logged(row) for row in rows], now)
            keys = [(row.request_id, row.index) for row in rows]
            self.watches.forget(meta.model, [key for key in keys if key not in stored])

    def reset_reference(self, model: str) -> str:
        """Begin a new live reference of every version of a model; returns its state in words.

        Raises:
            ModelNotFound: the model is not watched.
            Unsupported: its drift is not compared with live rows.
        """
        watches = self.watches.newest_first(model)
        if not watches:
            raise unknown_model(model[:200])
        states = [watch.reset_reference() for watch in watches]
        return states[0]

    def forget_requests(
        self, of: Callable[[str], Collection[str]], upto: Mapping[str, int]
    ) -> tuple[int, dict[str, int]]:
        """Forget requests of clients. See `MonitoredVersions.forget_requests`."""
        return self.watches.forget_requests(of, upto)

    # -- what it says -------------------------------------------------------------------

    def findings(self, model: str, version: str = "") -> ModelFindings:
        """Return a model's latest findings, and notes on what is not watched.

        Raises:
            ModelNotFound: no such model is served.
        """
        watches = self._of(model, version)
        now = self._clock()
        found = [record(each, now) for watch in watches for each in watch.findings(now)]
        return ModelFindings(model, tuple(found), self._notes(watches, model))

    def watched(self, model: str, version: str = "") -> WatchedModel:
        """Return what is watched of a model, how strictly, and what can be seen.

        Raises:
            ModelNotFound: no such model is served.
        """
        watches = self._of(model, version)
        now = self._clock()
        return WatchedModel(
            model,
            watches[-1].entry.config.monitors.false_pages_per_quarter,
            tuple(each for watch in watches for each in watch.watched(now)),
            tuple(each for watch in watches for each in watch.unwatched),
        )

    def _of(self, model: str, version: str) -> list[ModelMonitors]:
        watches = self.watches.listed(model)
        if version:
            watches = [watch for watch in watches if watch.entry.version == version]
        if not watches:
            raise unknown_model(model[:200])
        return watches

    def all_findings(self) -> tuple[FindingRecord, ...]:
        """Return the latest findings of all models."""
        now = self._clock()
        return tuple(
            record(each, now, watch.entry.name)
            for watch in self.watches.listed()
            for each in watch.findings(now)
        )

    def passed(self) -> tuple[FindingRecord, ...]:
        """Return, once, breaches of windows that others have followed since the last call."""
        now = self._clock()
        return tuple(
            record(each, now, watch.entry.name)
            for watch in self.watches.listed()
            for each in watch.take_passed()
        )

    def unjudged(self) -> tuple[Unjudged, ...]:
        """Return what is wanted and has no findings, of all models."""
        return tuple(each for watch in self.watches.listed() for each in watch.unjudged)

    def status(self) -> MonitorStatus:
        """Return what was received, and notes on all models."""
        watches = self.watches.listed()
        received, lost = self.delivery.received.rows, self.delivery.lost.rows
        not_judged = (note for watch in watches for note in watch.not_judged)
        return MonitorStatus(
            EventCounts(received, lost, self.unwatched),
            self._notes(watches),
            (*not_judged, *self.watches.notes(), *self._notices()),
        )

    def snapshot(self) -> tuple[Series, ...]:
        """Return every series; the lag is the worst since the last call."""
        self._lag.set(self._worst_lag)
        self._worst_lag = 0.0
        now = self._clock()
        for watch in self.watches:
            began = watch.time.clock()
            watch.refresh(now)
            watch.time.worked(began)
        self._rest.value = max(self._rest.value, self._processor_time() - self._for_models())
        return self._series.snapshot()

    def _for_models(self) -> float:
        """Return the processor seconds that were counted for models."""
        return sum(spent.value for spent in self._series.sums(MODEL_CPU_TIME)) - self._rest.value

    def cumulative(self) -> tuple[Series, ...]:
        """Return the sums and histograms as they are now."""
        return tuple(each for each in self._series.snapshot() if each.kind != "gauge")

    def _notes(self, watches: Sequence[ModelMonitors], model: str = "") -> tuple[str, ...]:
        of_watches = (note for watch in watches for note in watch.notes)
        return (*of_watches, *self.watches.notes(model), *self._notices())

    def _notices(self) -> list[str]:
        return [said for notice in self.notices if (said := notice())]

    # -- restarts -----------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what a restart must not forget, without entries, as JSON-serialisable values."""
        return {
            "ledger": self.delivery.state(),
            "unwatched": self.unwatched,
            **self.watches.state(),
        }

    def restore(self, state: Mapping[str, Any], entries: Mapping[str, Sequence[Entry]]) -> None:
        """Go on from what `state`, `changes` and `entries` told, before any model is served."""
        self.watches.restore(state, entries)
        self.delivery.restore(state["ledger"])
        self._lost_before = self.delivery.lost.rows
        self.unwatched = int(state["unwatched"])

    def put_back(self) -> None:
        """Watch nothing and keep all that is known, as before the first `serve`."""
        self.watches.put_back()

    def changes(self) -> Changes:
        """Return the entries by owner that differ from those of the last call."""
        return self.watches.changes()

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Yield all entries with their owners; the state may change meanwhile."""
        return self.watches.entries()


def _shares(
    watches: Sequence[ModelMonitors], labels: Sequence[LabelEvent]
) -> dict[int, list[LabelEvent]]:
    """Return labels by who made their predictions; the first one has those that nobody made."""
    shares: dict[int, list[LabelEvent]] = {}
    for label in labels:
        made_it = (at for at, watch in enumerate(watches) if watch.predicted(label))
        shares.setdefault(next(made_it, 0), []).append(label)
    return shares or {0: []}


def _label(watch: ModelMonitors, labels: Sequence[LabelEvent], now: float) -> LabelCounts:
    began = watch.time.clock()
    try:
        return watch.label(labels, now)
    finally:
        watch.time.worked(began)


def _logged(row: RecalledRow) -> LoggedPrediction:
    key = row.request_id, row.index
    # What the values were is in another dataset, which labels do not wait for.
    return LoggedPrediction(key, row.timestamp, row.predicted, groups_of(row.known))


def _sum(counts: Sequence[LabelCounts]) -> LabelCounts:
    return LabelCounts(
        sum(each.accepted for each in counts),
        sum(each.duplicate for each in counts),
        sum(each.unknown for each in counts),
        sum(each.late for each in counts),
    )
