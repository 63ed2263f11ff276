"""Which model versions are watched: those that are served, and those that answer in their place.

A model on another server answers with the version that it has there, and that may change while it
is served here. Each version has a watch of its own, so that nothing that is said of one is said
of another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from monitors.performance.forgotten_keys import ForgottenKeys
from monitors.performance.forgotten_keys import Key as Prediction
from monitors.performance.prediction_entries import Entry, prediction_keys, without
from serving.channel.messages.directory import ServedModel
from serving.errors import VersionNotFound, unknown_model
from serving.monitoring.judges.descriptor import MonitorDescriptor
from serving.monitoring.judges.listed import MONITORS
from serving.monitoring.model_monitors import LearnedLabels, ModelMonitors
from serving.monitoring.unserved import Unserved, model_of
from serving.roles.served_entry import served_entry
from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

MOST_UPSTREAM: Final = 4
"""Versions of other servers that are watched per model; another one displaces the oldest."""
ACTIVE_S: Final = 60.0
"""A version that has answered within these seconds is not displaced."""
MOST_COUNTED: Final = 32
"""Versions of other servers, per model, that have counters of their own; these never end."""
OTHERS: Final = "other"

Key = tuple[str, str]
Changes = list[tuple[str, Sequence[Entry] | None]]


@dataclass(slots=True)
class _Upstream:
    """A version of another server: the one that is served in its name, and when it answered."""

    served: Key
    seen: float


class MonitoredVersions:
    """A watch for every model version; those that answered last are at the end of the order.

    Args:
        series: where findings are published as metrics.
        clock: seconds since the epoch.
        monitors: which kinds of monitors there are.
    """

    def __init__(
        self,
        series: SeriesSet,
        clock: Callable[[], float],
        monitors: Sequence[MonitorDescriptor] = MONITORS,
    ) -> None:
        self._series = series
        self._monitors = monitors
        self._clock = clock
        self._served: dict[Key, ServedModel] = {}
        self._upstream: dict[Key, _Upstream] = {}
        self._watches: dict[Key, ModelMonitors] = {}
        self._crowded: dict[str, str] = {}
        self._counted: dict[str, set[str]] = {}
        self._forgotten: dict[str, ForgottenKeys] = {}
        self._saved = Unserved(clock)
        self._ended: list[str] = []
        self._remembered: set[str] = set()
        self._changed_before: Changes = []
        self._learned: list[LearnedLabels] = []

    # -- what is served -----------------------------------------------------------------

    def serve(self, models: Sequence[ServedModel]) -> None:
        """Watch these model versions and no others; one that changed is watched anew."""
        wanted = {(served.name, served.version): served for served in models}
        for key in [key for key, known in self._served.items() if wanted.get(key) != known]:
            del self._served[key]
            for version in (key, *self._told_of(key)):
                self._end(version)
        for key, served in wanted.items():
            if key not in self._served:
                if key in self._watches:
                    self._end(key)
                self._served[key] = served
                self._begin(key, wanted)
        self._remember_unserved()
        self._drop_unserved()

    def _begin(self, key: Key, wanted: Mapping[Key, ServedModel]) -> None:
        """Watch a served version, and those that had answered in its place when all was saved."""
        model, version = key
        saved = [(model, other) for other in self._saved.versions(model)]
        told = [
            other
            for other in saved
            if other not in wanted and self._saved.served_as("/".join(other)) == version
        ]
        # In the order in which they were saved, which is that of their last answers.
        for other in sorted({key, *told}, key=[*saved, key].index):
            if other != key:
                self._upstream[other] = _Upstream(key, self._clock())
            self._watch(other, key)

    def _watch(self, key: Key, served: Key) -> ModelMonitors:
        model, version = key
        forgotten = self._forgotten.setdefault(model, ForgottenKeys())
        forgotten.restore(self._saved.take(model)[1])
        entry = served_entry(self._served[served])
        if key != served:
            entry = replace(entry, version=version)
        counted_as = "" if key == served else self._counted_as(key)
        watch = ModelMonitors(
            entry,
            self._series,
            forgotten,
            self._learned.append,
            upstream_as=counted_as,
            monitors=self._monitors,
        )
        state, entries = self._saved.take("/".join(key))
        watch.restore_entries(entries)
        if state is not None:
            watch.restore(state)
        self._watches[key] = watch
        return watch

    def _counted_as(self, key: Key) -> str:
        """Return the version in a counter's attributes: another server may make up many."""
        model, version = key
        counted = self._counted.setdefault(model, set())
        if len(counted) < MOST_COUNTED:
            counted.add(version)
        return version if version in counted else OTHERS

    def _end(self, key: Key) -> None:
        self._watches.pop(key).end()
        self._upstream.pop(key, None)
        self._crowded.pop(key[0], None)
        self._ended.append("/".join(key))

    def _remember_unserved(self) -> None:
        """Have labels of versions that were replaced while nobody watched answered as late."""
        for model, forgotten in self._forgotten.items():
            for owner, entries in self._saved.predictions(model):
                if owner not in self._remembered:
                    self._remembered.add(owner)
                    keys = list(prediction_keys(entries))
                    known = forgotten.among(keys)  # since an earlier restart
                    forgotten.add_all([key for key in keys if key not in known])

    def _drop_unserved(self) -> None:
        """Drop what was saved of versions that will hardly be served again."""
        dropped = self._saved.drop({model for model, _ in self._served})
        self._remembered -= set(dropped)
        self._ended += dropped

    # -- who answers --------------------------------------------------------------------

    def judges(self, model: str, version: str) -> bool:
        """Whether a served version may have monitors: false where it is known to have none."""
        watch = self._watches.get((model, version))
        return watch is None or watch.judges

    def answered(self, model: str, version: str, upstream: str) -> ModelMonitors | None:
        """Return the watch of what has answered now; None where it is not watched.

        Args:
            model, version: as they are served.
            upstream: version that another server gave its answers; empty where it is `version`.
        """
        key = (model, upstream or version)
        watch = self._watches.pop(key, None)
        if watch is None:
            return self._discover(key, (model, version)) if upstream else None
        self._watches[key] = watch
        if key in self._upstream:
            self._upstream[key].seen = self._clock()
        return watch

    def _discover(self, key: Key, served: Key) -> ModelMonitors | None:
        if served not in self._served:
            return None
        now = self._clock()
        others = [other for other in self._upstream if other[0] == key[0]]
        if len(others) >= MOST_UPSTREAM:
            oldest = min(others, key=lambda other: self._upstream[other].seen)
            if now - self._upstream[oldest].seen < ACTIVE_S:
                self._crowd(key)
                return None
            self._end(oldest)
        self._upstream[key] = _Upstream(served, now)
        return self._watch(key, served)

    def _crowd(self, key: Key) -> None:
        model, version = key
        if model not in self._crowded:
            said = "a version of the other server is not watched: too many others answer"
            report(Event.MONITOR_BLIND, said, model=model, version=version)
        self._crowded[model] = version

    def learned(self) -> list[LearnedLabels]:
        """Return the labels that have met their predictions since the last call."""
        found = self._learned[:]
        self._learned.clear()
        return found

    # -- look-up ------------------------------------------------------------------------

    def watch(self, model: str, version: str) -> ModelMonitors:
        """Return the watch of a version.

        Raises:
            ModelNotFound, VersionNotFound: it is not watched.
        """
        if (model, version) not in self._watches:
            if self.newest_first(model):
                raise VersionNotFound(f"version '{version[:40]}' of '{model}' is not watched")
            raise unknown_model(model[:200])
        return self._watches[model, version]

    def latest(self, model: str, version: str) -> ModelMonitors:
        """Return the watch of what has answered last for a served version.

        Raises:
            ModelNotFound, VersionNotFound: it is not watched.
        """
        found = self.watch(model, version)
        told = {(model, version), *self._told_of((model, version))}
        for key, watch in self._watches.items():
            if key in told:
                found = watch
        return found

    def newest_first(self, model: str) -> list[ModelMonitors]:
        """Return the watches of a model: by served version, then by when they answered last."""
        found = [key for key in reversed(self._watches) if key[0] == model]
        # Versions here are numbers, those of another server may be any text.
        found.sort(key=lambda key: int(self._served_as(key)[1]), reverse=True)
        return [self._watches[key] for key in found]

    def version(self, model: str, version: str) -> ModelMonitors | None:
        """Return the watch of a version, whoever answers with it; None where it is not watched."""
        return self._watches.get((model, version))

    def forgotten(self, model: str, predictions: Sequence[Prediction]) -> set[Prediction]:
        """Return those predictions of a model of which it is known that there were such ones."""
        keys = self._forgotten.get(model)
        return keys.among(predictions) if keys else set()

    def forget(self, model: str, predictions: Sequence[Prediction]) -> None:
        """Have labels of predictions that no version stores be late."""
        known = self.forgotten(model, predictions)
        if model in self._forgotten:
            self._forgotten[model].add_all([key for key in predictions if key not in known])

    def forget_requests(
        self, of: Callable[[str], Collection[str]], upto: Mapping[str, int]
    ) -> tuple[int, dict[str, int]]:
        """Forget requests of clients, also in what was saved of versions that nobody serves.

        Args:
            of: returns the clients' ids of a model's requests.
            upto: by owner, the number up to which entries are meant; without: all.

        Returns:
            How many entries are gone, and by owner the number of the newest one.
        """
        gone = self._saved.forget_requests(of)
        newest: dict[str, int] = {}
        for key, watch in self._watches.items():
            if idents := of(key[0]):
                owner = "/".join(key)
                count, newest[owner] = watch.forget_requests(idents, upto.get(owner, math.inf))
                gone += count
        # What was put back has not been saved since.
        self._changed_before = [
            (owner, entries and without(entries, of(model_of(owner)))[0])
            for owner, entries in self._changed_before
        ]
        return gone, newest

    def _served_as(self, key: Key) -> Key:
        one = self._upstream.get(key)
        return key if one is None else one.served

    def listed(self, model: str = "") -> list[ModelMonitors]:
        """Return all watches, or those of a model, in an order that answers do not change.

        A served version that never answered itself is left out where others do in its place.
        """
        found = []
        for key in self._served:
            if model in ("", key[0]):
                told = sorted(self._told_of(key))
                if not told or self._watches[key].had_rows:
                    found.append(self._watches[key])
                found += [self._watches[other] for other in told]
        return found

    def _told_of(self, served: Key) -> list[Key]:
        return [key for key, one in self._upstream.items() if one.served == served]

    def __iter__(self) -> Iterator[ModelMonitors]:
        """Yield every watch."""
        return iter(list(self._watches.values()))

    def notes(self, model: str = "") -> list[str]:
        """Return what is not watched because another server has too many versions."""
        return [
            f"version '{version}' of model '{name}' upstream is not watched: {MOST_UPSTREAM} "
            f"others answered within {ACTIVE_S:.0f} s"
            for name, version in self._crowded.items()
            if model in ("", name)
        ]

    # -- restarts -----------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what a restart must not forget, without entries, as JSON-serialisable values."""
        saved = self._saved.state()
        watches = {"/".join(key): watch.state() for key, watch in self._watches.items()}
        upstream = {"/".join(key): one.served[1] for key, one in self._upstream.items()}
        return {
            **saved,
            "models": {**saved["models"], **watches},
            "upstream": {**saved["upstream"], **upstream},
        }

    def restore(self, state: Mapping[str, Any], entries: Mapping[str, Sequence[Entry]]) -> None:
        """Go on from what `state`, `changes` and `entries` told, before any model is served."""
        self._saved.restore(state, entries)

    def put_back(self) -> None:
        """Watch nothing, and keep everything as `restore` does: it is as before the first `serve`.

        A version whose configuration was changed while nobody watched then goes on as far as it
        can, instead of beginning anew as one does that is changed while it is served.
        """
        self._changed_before = self.changes()
        state = msgspec.json.decode(msgspec.json.encode(self.state()))
        entries: dict[str, list[Entry]] = {}
        for owner, entry in self.entries():
            entries.setdefault(owner, []).append(entry)
        for watch in self._watches.values():
            watch.hide()
        for kept in (self._served, self._upstream, self._watches, self._crowded, self._forgotten):
            kept.clear()
        self._remembered.clear()
        self.restore(state, entries)

    def changes(self) -> Changes:
        """Return the entries by owner that differ from those of the last call.

        An owner is a version (`name/version`) with its predictions and labels, or a model with
        the keys that are forgotten. None for one that is gone.
        """
        self._drop_unserved()
        ended, self._ended = self._ended, []
        # A version that is served anew is gone first.
        before, self._changed_before = self._changed_before, []
        changed: Changes = [*before, *((owner, None) for owner in ended)]
        changed += [("/".join(key), watch.changes()) for key, watch in self._watches.items()]
        changed += [(model, keys.changes()) for model, keys in self._forgotten.items()]
        return [(owner, entries) for owner, entries in changed if entries != []]

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Yield all entries with their owners; the state may change meanwhile."""
        yield from self._saved.entries()
        for model, forgotten in list(self._forgotten.items()):
            yield from ((model, entry) for entry in forgotten.entries())
        for key, watch in list(self._watches.items()):
            yield from (("/".join(key), entry) for entry in watch.entries())
