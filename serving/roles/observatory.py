"""The monitor's state without its sockets: books, watches, and what they say."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monitors.events import LabelEvent
from serving.channel.directory import Series, ServedModel
from serving.channel.observation import EventMeta, LabelCounts, LabelsMeta, Position
from serving.config import ConfigError
from serving.errors import InvalidInput, VersionNotFound, unknown_model
from serving.protocol.messages import Tensor
from serving.roles.event_ledger import EventLedger
from serving.roles.finding_json import plain
from serving.roles.model_watch import ModelWatch
from serving.roles.observed import read_event, read_label
from serving.roles.served_entry import served_entry
from serving.telemetry import names
from serving.telemetry.counters import SeriesSet

_log = logging.getLogger("vigil.monitor")


class Observatory:
    """Watches every served model version. Belongs to one thread.

    Args:
        clock: seconds since the epoch.

    Attributes:
        ledger: what was received and what is lost.
        unwatched: rows received for versions that are not watched (any more, or yet).
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.ledger = EventLedger()
        self.unwatched = 0
        self._series = SeriesSet()
        self._received = self._series.sum(names.EVENTS_RECEIVED)
        self._lost = self._series.sum(names.EVENTS_LOST)
        self._lost_before = 0
        self._lag = self._series.gauge(names.MONITOR_LAG)
        self._worst_lag = 0.0
        self._served: dict[tuple[str, str], ServedModel] = {}
        self._watches: dict[tuple[str, str], ModelWatch] = {}
        self._problems: dict[tuple[str, str], str] = {}
        self._saved: dict[str, Any] = {}

    # -- what is served -----------------------------------------------------------------

    def serve(self, models: Sequence[ServedModel]) -> None:
        """Watch these model versions and no others; one that changed is watched anew."""
        wanted = {(served.name, served.version): served for served in models}
        for key in [key for key, known in self._served.items() if wanted.get(key) != known]:
            del self._served[key]
            self._watches.pop(key, None)
            self._problems.pop(key, None)
            self._series.drop_gauges(model=key[0], version=key[1])
        for key, served in wanted.items():
            if key not in self._served:
                self._served[key] = served
                self._watch(key, served)

    def _watch(self, key: tuple[str, str], served: ServedModel) -> None:
        try:
            watch = ModelWatch(served_entry(served), self._series)
        except ConfigError as error:
            self._problems[key] = error.message
            _log.error("model %s is not watched: %s", served.name, error.message)
            return
        state = self._saved.pop("/".join(key), None)
        if state is not None:
            watch.restore(state)
        self._watches[key] = watch

    def watch(self, model: str, version: str) -> ModelWatch:
        """Return the watch of a version.

        Raises:
            ModelNotFound, VersionNotFound: it is not watched.
        """
        if (model, version) not in self._watches:
            if any(name == model for name, _ in self._watches):
                raise VersionNotFound(f"version '{version[:40]}' of '{model}' is not watched")
            raise unknown_model(model[:200])
        return self._watches[model, version]

    # -- what happens -------------------------------------------------------------------

    def at(self, position: Position) -> None:
        """Count what a gateway has sent and this monitor has not received."""
        self.ledger.at(position)
        self._count_lost()

    def observe(self, meta: EventMeta, tensors: Sequence[Tensor]) -> None:
        """Take in one message of predictions."""
        rows = sum(meta.rows)
        self.ledger.arrived(meta.position, len(meta.ids), rows)
        self._received.add(rows)
        self._count_lost()
        self._worst_lag = max(self._worst_lag, self._clock() - meta.timestamp)
        watch = self._watches.get((meta.model, meta.version))
        try:
            event = read_event(meta, tensors)
        except InvalidInput as error:
            _log.error("%s from gateway %s", error.message, meta.position.gateway)
            watch = None
        if watch is None:
            self.unwatched += rows
        else:
            watch.update(event)

    def _count_lost(self) -> None:
        # What was lost before a restart is in the totals of the process that counted it.
        self._lost.value = max(self._lost.value, self.ledger.lost.rows - self._lost_before)

    def label(self, pushed: LabelsMeta) -> LabelCounts:
        """Join labels with predictions of the version that made them.

        A label whose prediction is not there yet waits at the newest version.

        Raises:
            ModelNotFound: the model is not watched.
            Unsupported: it is no classifier.
            InvalidInput: a label names no class of the model; then none was taken in.
        """
        versions = [version for name, version in self._watches if name == pushed.model]
        if not versions:
            raise unknown_model(pushed.model[:200])
        newest_first = sorted(versions, key=int, reverse=True)
        shares: dict[str, list[LabelEvent]] = {}
        for label in map(read_label, pushed.labels):
            made_it = (v for v in newest_first if self._watches[pushed.model, v].predicted(label))
            shares.setdefault(next(made_it, newest_first[0]), []).append(label)
        shares = shares or {newest_first[0]: []}
        watches = {version: self._watches[pushed.model, version] for version in shares}
        for version, watch in watches.items():
            watch.check_labels(shares[version])
        now = self._clock()
        return _sum([watch.label(shares[version], now) for version, watch in watches.items()])

    def reset_reference(self, model: str) -> str:
        """Begin a new live reference of every version of a model; returns its state in words.

        Raises:
            ModelNotFound: the model is not watched.
            Unsupported: its drift is not compared with live rows.
        """
        watches = [watch for (name, _), watch in self._watches.items() if name == model]
        if not watches:
            raise unknown_model(model[:200])
        return [watch.reset_reference() for watch in watches][-1]

    # -- what it says -------------------------------------------------------------------

    def findings(self, model: str, version: str = "") -> dict[str, Any]:
        """Return a model's latest findings, and notes on what is not watched.

        Raises:
            ModelNotFound: no such model is served.
        """
        keys = [key for key in self._served if key[0] == model and version in ("", key[1])]
        if not keys:
            raise unknown_model(model[:200])
        return {
            "model": model,
            "findings": self._findings(keys),
            "notes": [note for key in keys for note in self._notes(key)],
        }

    def status(self) -> dict[str, Any]:
        """Return findings of all models, books and notes as JSON-serialisable values."""
        return {
            "findings": [
                {"model": model, **finding}
                for model, version in self._watches
                for finding in self._findings([(model, version)])
            ],
            "events": {
                "received": self.ledger.received.rows,
                "lost": self.ledger.lost.rows,
                "unwatched": self.unwatched,
            },
            "notes": [note for key in self._served for note in self._notes(key)],
        }

    def snapshot(self) -> tuple[Series, ...]:
        """Return every series; the lag is the worst since the last call."""
        self._lag.set(self._worst_lag)
        self._worst_lag = 0.0
        return self._series.snapshot()

    def _findings(self, keys: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        return [
            plain(finding, key[1])
            for key in keys
            if key in self._watches
            for finding in self._watches[key].findings()
        ]

    def _notes(self, key: tuple[str, str]) -> list[str]:
        if key in self._watches:
            return self._watches[key].notes
        return [self._problems[key]] if key in self._problems else []

    # -- restarts -----------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything that a restart must not forget, as JSON-serialisable values."""
        watches = {"/".join(key): watch.state() for key, watch in self._watches.items()}
        return {
            "ledger": self.ledger.state(),
            "unwatched": self.unwatched,
            "models": {**self._saved, **watches},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned, before any model is served."""
        self.ledger.restore(state["ledger"])
        self._lost_before = self.ledger.lost.rows
        self.unwatched = int(state["unwatched"])
        self._saved = dict(state["models"])


def _sum(counts: Sequence[LabelCounts]) -> LabelCounts:
    return LabelCounts(
        sum(each.accepted for each in counts),
        sum(each.duplicate for each in counts),
        sum(each.unknown for each in counts),
        sum(each.late for each in counts),
    )
