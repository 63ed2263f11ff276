"""The past as the prediction log has it: what was answered then, and labels when they came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitors.performance.labels import LabelEvent
from serving.backtest.happenings import Happening, Labelled, Predicted, events, in_order
from serving.config import ModelConfig
from serving.errors import Unsupported, VigilError
from serving.log.label_rows import LABEL, LABEL_TIME
from serving.log.logged_request import logged_inputs, logged_outputs
from serving.log.query import literal
from serving.log.reader import LogReader
from serving.models.repository.folder import ModelEntry
from serving.monitoring.event_decoding import PredictionEvent
from serving.protocol.messages import Tensor

_ORDER: Final = ("time", "id", "row")
_LABELS_AT_ONCE: Final = 256


class Labelling(NamedTuple):
    """When labels came.

    Attributes:
        at: the time that parts those before from those since.
        later: whether those since are wanted.
    """

    at: datetime
    later: bool

    @property
    def condition(self) -> str:
        """As SQL, to be added to another condition."""
        sign = ">=" if self.later else "<"
        at = self.at.astimezone(UTC).isoformat()
        return f" AND label IS NOT NULL AND label_time {sign} TIMESTAMPTZ '{at}'"

    @property
    def words(self) -> str:
        """As the end of a sentence."""
        return f"{'since' if self.later else 'before'} {self.at:%Y-%m-%d %H:%M:%S} UTC"


class LogPast:
    """Rows of the prediction log in the order of their times.

    Args:
        entries: the versions of one model that lie in the repository, at least one.
        predictions, sensitive: readers of both datasets.
        since, until: the earliest time, and the first that is too late; None: any.
        most: only the newest rows, so many; None: all.
        labelled: only rows whose label came in that time; None: also those without a label.
        version: only what it has answered; None: all versions.

    Raises:
        VigilError: the log has no such rows, or not all that is needed of them.
        OSError, pyarrow.ArrowException: the log cannot be read.
    """

    def __init__(
        self,
        entries: Sequence[ModelEntry],
        predictions: LogReader,
        sensitive: LogReader,
        since: datetime | None,
        until: datetime | None,
        most: int | None = None,
        labelled: Labelling | None = None,
        version: str | None = None,
    ) -> None:
        self._entries = {each.version: each for each in entries}
        self._newest = entries[-1]
        model = self._newest.name
        if not self._newest.config.row_axis:
            raise Unsupported(f"requests of model '{model}' have no rows, so it has no monitors")
        newest = most is not None
        where = "outcome = 'ok'" + ("" if labelled is None else labelled.condition)
        if version is not None:
            where += f" AND version = {literal(version)}"
        scan = predictions.scan(model, where, since, until, limit=most, newest=newest)
        table = scan.read_all()
        if not table.num_rows and labelled is not None:
            raise VigilError(f"the log has no label of model '{model}' that came {labelled.words}")
        if not table.num_rows:
            known = predictions.models()
            has = f"it has {', '.join(known[:20])}" if known else "it is empty"
            raise VigilError(f"the log has no answers of model '{model}' in this time; {has}")
        self._table = table.sort_by([(name, "ascending") for name in _ORDER])
        self._when = _seconds(self._table["time"])
        fairness = self._newest.config.fairness
        self._wanted = fairness.sensitive if fairness else []
        self._groups = {}
        if self._wanted:
            if newest:  # not as many of the newest: rows with labels may be older than those
                since = datetime.fromtimestamp(float(self._when[0]), UTC)
            given = sensitive.scan(model, "true", since, until).read_all()
            self._groups = _sensitive(self._table, given, self._wanted)
        self._truth = self._labels()
        self.rows = self._table.num_rows
        self.labels = sum(len(each.labels) for each in self._truth)
        self.first, self.last = float(self._when[0]), float(self._when[-1])
        self.notes = self._lacks()

    def __iter__(self) -> Iterator[Happening]:
        return in_order(self._predicted(), iter(self._truth))

    def config(self, version: str) -> ModelConfig:
        """Return the configuration by which a version's rows are read."""
        return self._entries.get(version, self._newest).config

    def _predicted(self) -> Iterator[Predicted]:
        versions = self._table["version"].to_numpy(zero_copy_only=False)
        for first, end in events(self._when):
            start = first
            while start < end:  # a version each
                other = np.flatnonzero(versions[start:end] != versions[start])
                stop = start + int(other[0]) if len(other) else end
                yield self._event(start, stop, str(versions[start]))
                start = stop

    def _event(self, start: int, stop: int, version: str) -> Predicted:
        rows = self._table.slice(start, stop - start)
        config = self.config(version)
        time = float(self._when[stop - 1])
        event = PredictionEvent(
            timestamp=time,
            request_ids=rows["client_id"].to_pylist(),
            row_index=rows["index"].to_numpy().astype(np.int64),
            inputs=_arrays(logged_inputs(rows, config), stop - start),
            outputs=_arrays(logged_outputs(rows, config), stop - start),
            sensitive_features={name: each[start:stop] for name, each in self._groups.items()},
        )
        return Predicted(time, version, event)

    def _labels(self) -> list[Labelled]:
        table = self._table
        if LABEL not in table.column_names:
            return []
        rows = table.select(["client_id", "index", LABEL, LABEL_TIME])
        rows = rows.filter(pc.is_valid(rows[LABEL])).sort_by(LABEL_TIME)
        times = _seconds(rows[LABEL_TIME])
        idents, index = rows["client_id"].to_pylist(), rows["index"].to_pylist()
        events = [
            LabelEvent(ident, at, truth, {}, float(time))
            for ident, at, truth, time in zip(
                idents, index, rows[LABEL].to_pylist(), times, strict=True
            )
        ]
        parts = [events[at : at + _LABELS_AT_ONCE] for at in range(0, len(events), _LABELS_AT_ONCE)]
        return [Labelled(part[-1].timestamp or 0.0, part) for part in parts]

    def _lacks(self) -> list[str]:
        config = self._newest.config
        notes = []
        if not self.labels:
            notes.append("the log has no labels of these rows: nothing that needs some is judged")
        notes += [
            f"the log has no '{name}' of these rows: fairness by it is not judged"
            for name in self._wanted
            if name not in self._groups
        ]
        versions = set(pc.unique(self._table["version"]).to_pylist()) - set(self._entries)
        if versions and not config.descriptor.elsewhere:
            notes.append(
                f"rows of version {', '.join(sorted(versions))} are judged as if version "
                f"{self._newest.version} had answered: their folder is not there any more"
            )
        return notes


def _arrays(tensors: Sequence[Tensor], rows: int) -> dict[str, np.ndarray]:
    """Return those tensors that have a value per row."""
    return {each.name: each.data for each in tensors if each.data.shape[:1] == (rows,)}


def _seconds(column: Any) -> np.ndarray:
    moments = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    seconds: np.ndarray = moments / 1e6
    return seconds


def _sensitive(rows: Any, given: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return sensitive values of rows, object arrays of text or None [n], by attribute."""
    keys = zip(given["id"].to_pylist(), given["row"].to_pylist(), strict=True)
    at = {key: place for place, key in enumerate(keys)}
    wanted = zip(rows["id"].to_pylist(), rows["row"].to_pylist(), strict=True)
    places = [at.get(key) for key in wanted]
    found = {}
    for name in names:
        if name in given.column_names:
            values = given[name].to_pylist()
            column = np.empty(len(places), np.object_)
            column[:] = [None if place is None else values[place] for place in places]
            found[name] = column
    return found
