"""The monitor's state without its sockets: books, watches, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from monitors.events import LabelEvent
from monitors.forgotten_keys import ForgottenKeys
from monitors.label_join import Entry, prediction_keys
from serving.channel.directory import Series, ServedModel
from serving.channel.observation import EventMeta, LabelCounts, LabelsMeta, Position
from serving.errors import InvalidInput, VersionNotFound, unknown_model
from serving.logs.events import Event
from serving.logs.report import report
from serving.protocol.messages import Tensor
from serving.roles.event_ledger import EventLedger
from serving.roles.finding_json import plain
from serving.roles.model_watch import ModelWatch
from serving.roles.observed import read_event, read_label
from serving.roles.served_entry import served_entry
from serving.telemetry import names
from serving.telemetry.counters import SeriesSet

Changes = list[tuple[str, Sequence[Entry] | None]]


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
        self._forgotten: dict[str, ForgottenKeys] = {}
        # What was saved of versions that are not served, or not yet, by `name/version`.
        self._saved: dict[str, Any] = {}
        self._saved_entries: dict[str, Sequence[Entry]] = {}
        self._ended: list[str] = []
        self._remembered: set[str] = set()

    # -- what is served -----------------------------------------------------------------

    def serve(self, models: Sequence[ServedModel]) -> None:
        """Watch these model versions and no others; one that changed is watched anew."""
        wanted = {(served.name, served.version): served for served in models}
        for key in [key for key, known in self._served.items() if wanted.get(key) != known]:
            del self._served[key]
            self._watches.pop(key).end()
            self._ended.append("/".join(key))
        for key, served in wanted.items():
            if key not in self._served:
                self._served[key] = served
                self._watch(key, served)
        self._remember_unserved()

    def _watch(self, key: tuple[str, str], served: ServedModel) -> None:
        forgotten = self._forgotten.setdefault(served.name, ForgottenKeys())
        forgotten.restore(self._saved_entries.pop(served.name, ()))
        watch = ModelWatch(served_entry(served), self._series, forgotten)
        watch.restore_entries(self._saved_entries.pop("/".join(key), ()))
        state = self._saved.pop("/".join(key), None)
        if state is not None:
            watch.restore(state)
        self._watches[key] = watch

    def _remember_unserved(self) -> None:
        """Have labels of versions that were replaced while nobody watched answered as late."""
        for owner, entries in self._saved_entries.items():
            model, _, version = owner.partition("/")
            if version and owner not in self._remembered and model in self._forgotten:
                self._remembered.add(owner)
                for key in prediction_keys(entries):
                    self._forgotten[model].add(key)

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
            report(
                Event.OBSERVATION_FAILED,
                "a message of predictions cannot be read, and its rows are not watched",
                model=meta.model,
                version=meta.version,
                error=error,
                gateway=meta.position.gateway,
                rows=rows,
            )
            watch = None
        if watch is None:
            self.unwatched += rows
        else:
            watch.update(event, self._clock())

    def _count_lost(self) -> None:
        # What was lost before a restart is in the totals of the process that counted it.
        self._lost.value = max(self._lost.value, self.ledger.lost.rows - self._lost_before)

    def label(self, pushed: LabelsMeta) -> LabelCounts:
        """Join labels with predictions of the version that made them.

        A label whose prediction is not there yet waits at the newest version.

        Raises:
            ModelNotFound: the model is not watched.
            Unsupported: no monitor of it has a use for labels.
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
            "notes": self._notes(keys),
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
            "notes": self._notes(self._served),
            "not_judged": [note for key in self._served for note in self._watches[key].not_judged],
        }

    def snapshot(self) -> tuple[Series, ...]:
        """Return every series; the lag is the worst since the last call."""
        self._lag.set(self._worst_lag)
        self._worst_lag = 0.0
        now = self._clock()
        for watch in self._watches.values():
            watch.refresh(now)
        return self._series.snapshot()

    def _findings(self, keys: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        now = self._clock()
        return [
            plain(finding, key[1], now)
            for key in keys
            for finding in self._watches[key].findings(now)
        ]

    def _notes(self, keys: Iterable[tuple[str, str]]) -> list[str]:
        return [note for key in keys for note in self._watches[key].notes]

    # -- restarts -----------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what a restart must not forget, without entries, as JSON-serialisable values."""
        watches = {"/".join(key): watch.state() for key, watch in self._watches.items()}
        return {
            "ledger": self.ledger.state(),
            "unwatched": self.unwatched,
            "models": {**self._saved, **watches},
        }

    def restore(self, state: Mapping[str, Any], entries: Mapping[str, Sequence[Entry]]) -> None:
        """Go on from what `state`, `changes` and `entries` told, before any model is served."""
        self._saved_entries = dict(entries)
        self.ledger.restore(state["ledger"])
        self._lost_before = self.ledger.lost.rows
        self.unwatched = int(state["unwatched"])
        self._saved = dict(state["models"])

    def changes(self) -> Changes:
        """Return the entries by owner that differ from those of the last call.

        An owner is a version (`name/version`) with its predictions and labels, or a model with
        the keys that are forgotten. None for one that is gone.
        """
        ended, self._ended = self._ended, []
        # A version that is served anew is gone first.
        changed: Changes = [(owner, None) for owner in ended]
        changed += [("/".join(key), watch.changes()) for key, watch in self._watches.items()]
        changed += [(model, keys.changes()) for model, keys in self._forgotten.items()]
        return [(owner, entries) for owner, entries in changed if entries != []]

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Yield all entries with their owners; the state may change meanwhile."""
        for owner, saved in list(self._saved_entries.items()):
            for entry in saved:
                if owner not in self._saved_entries:
                    break  # its version is served now, and tells itself what is so
                yield owner, entry
        for model, forgotten in list(self._forgotten.items()):
            yield from ((model, entry) for entry in forgotten.entries())
        for key, watch in list(self._watches.items()):
            yield from (("/".join(key), entry) for entry in watch.entries())


def _sum(counts: Sequence[LabelCounts]) -> LabelCounts:
    return LabelCounts(
        sum(each.accepted for each in counts),
        sum(each.duplicate for each in counts),
        sum(each.unknown for each in counts),
        sum(each.late for each in counts),
    )
