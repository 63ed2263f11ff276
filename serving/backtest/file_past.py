"""The past as a file of rows: the model answers them now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from monitors.performance.labels import LabelEvent
from serving.backtest.happenings import Happening, Labelled, Predicted, events, in_order
from serving.config import ConfigError, ModelConfig
from serving.errors import InvalidInput, Unsupported
from serving.models.contract import Model, Tensors
from serving.models.formats.loader import load
from serving.models.label_kind import label_kind
from serving.models.profile.dataset import LABEL, DataColumns, Dataset, read_dataset
from serving.models.repository.folder import ModelEntry
from serving.monitoring.event_decoding import PredictionEvent

_ANSWERED: Final = 256
_DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class FileTimes:
    """When the rows of a file came, and their labels.

    Attributes:
        column: with the time of each row; empty: they came one after the other.
        rows_per_day: how fast they came, where no column says it.
        label_delay_s: seconds from a row to its label.
    """

    column: str = ""
    rows_per_day: float | None = None
    label_delay_s: float = 0.0


class FilePast:
    """Rows of a file, in the order of their times.

    Args:
        entry: the version that answers them.
        path: the file: CSV if its name ends in `.csv`, else Parquet.
        times: when the rows came.
        label: column with what is true; without it in the file there are no labels.
        end: time of the last row where no column says it, in seconds since the epoch.

    Raises:
        ConfigError: the file cannot be read, or lacks a column.
        InvalidInput: nothing says when the rows came.
        Unsupported: the model cannot answer here.
    """

    def __init__(
        self, entry: ModelEntry, path: Path, times: FileTimes, label: str = LABEL, end: float = 0.0
    ) -> None:
        if not times.column and times.rows_per_day is None:
            raise InvalidInput(
                "nothing says when the rows came: name their column with --time, or say with "
                "--rows-per-day how fast they came one after the other"
            )
        config = entry.config
        if config.descriptor.elsewhere:
            raise Unsupported(
                f"model '{entry.name}' is on another server and cannot answer a file here; "
                "--last takes what it has answered from the prediction log"
            )
        if not config.row_axis:
            raise Unsupported(
                f"requests of model '{entry.name}' have no rows, so a file cannot hold them"
            )
        self._entry = entry
        data = read_dataset(path, config, DataColumns(times.column, label))
        when = data.time
        if when is None:
            assert times.rows_per_day is not None
            apart = _DAY_S / times.rows_per_day
            when = end - apart * np.arange(data.rows - 1, -1, -1)
        elif (when[1:] < when[:-1]).any():
            order = np.argsort(when, kind="stable")
            data, when = data.take(order), when[order]
        self._data, self._when = data, when
        self._delay_s = times.label_delay_s
        self._truth = _truth(path, data, label, config)
        self.rows = data.rows
        self.labels = sum(each is not None for each in self._truth)
        self.first, self.last = float(when[0]), float(when[-1])
        self.notes = _lacks(path, data, config, label)

    def __iter__(self) -> Iterator[Happening]:
        return in_order(self._predicted(), self._labelled())

    def _predicted(self) -> Iterator[Predicted]:
        model = load(self._entry, "cpu")
        config = self._entry.config
        given = self._data.inputs
        hidden = {spec.name for spec in config.inputs if spec.sensitive}
        groups = {name: _texts(given[name]) for name in hidden if name in given}
        groups |= self._data.sensitive
        seen = {name: each for name, each in given.items() if name not in hidden}
        answered = _Answers(model, self._entry, seen)
        for start, stop in events(self._when):
            inputs, outputs = answered.rows(start, stop)
            time = float(self._when[stop - 1])
            event = PredictionEvent(
                timestamp=time,
                request_ids=[_ident(at) for at in range(start, stop)],
                row_index=np.zeros(stop - start, np.int64),
                inputs=inputs,
                outputs=outputs,
                sensitive_features={name: each[start:stop] for name, each in groups.items()},
            )
            yield Predicted(time, self._entry.version, event)

    def _labelled(self) -> Iterator[Labelled]:
        for start, stop in events(self._when):
            # Known when the last row of the event is: the label of a row never comes before it.
            time = float(self._when[stop - 1]) + self._delay_s
            labels = [
                LabelEvent(_ident(at), 0, truth, {}, time)
                for at in range(start, stop)
                if (truth := self._truth[at]) is not None
            ]
            if labels:
                yield Labelled(time, labels)


class _Answers:
    """What a model answers to rows that are asked for one after the other."""

    def __init__(self, model: Model, entry: ModelEntry, inputs: Tensors) -> None:
        self._model, self._entry, self._inputs = model, entry, inputs
        self._start = self._stop = 0
        self._outputs: dict[str, np.ndarray] = {}

    def rows(self, start: int, stop: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return inputs and outputs of some rows."""
        if stop > self._stop:
            self._start, self._stop = start, max(start + _ANSWERED, stop)
            batch = {name: each[start : self._stop] for name, each in self._inputs.items()}
            try:
                self._outputs = dict(self._model.predict(batch))
            except Exception as error:
                reason = str(error).partition("\n")[0][:200]
                raise InvalidInput(
                    f"model '{self._entry.name}' cannot answer rows {start} to {stop} of the file "
                    f"({type(error).__name__}: {reason})"
                ) from error
        inputs = {name: each[start:stop] for name, each in self._inputs.items()}
        at = slice(start - self._start, stop - self._start)
        return inputs, {name: each[at] for name, each in self._outputs.items()}


def _ident(row: int) -> str:
    return f"row-{row}"


def _truth(path: Path, data: Dataset, label: str, config: ModelConfig) -> list[Any]:
    """Return labels as clients send them; None where a row has none."""
    if data.y_true is None:
        if label != LABEL:
            raise ConfigError(f"{path}: has no column '{label}'")
        return [None] * data.rows
    plain = zip(data.y_true.tolist(), data.labelled.tolist(), strict=True)
    truth = [each if known else None for each, known in plain]
    if (kind := label_kind(config)) is not None:
        for value in {repr(each): each for each in truth if each is not None}.values():
            try:
                kind.read(value)
            except ValueError:
                raise ConfigError(
                    f"{path}: column '{label}' holds '{str(value)[:40]}'; a label of the model is "
                    f"{kind.takes}"
                ) from None
    return truth


def _texts(array: np.ndarray) -> np.ndarray:
    texts = np.empty(len(array), np.object_)
    texts[:] = [
        each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each)
        for each in array.reshape(len(array), -1)[:, 0].tolist()
    ]
    return texts


def _lacks(path: Path, data: Dataset, config: ModelConfig, label: str) -> list[str]:
    notes = []
    if data.y_true is None:
        notes.append(
            f"{path} has no column '{label}': nothing that needs labels is judged; --label names it"
        )
    wanted = config.fairness.sensitive if config.fairness else []
    there = {*data.sensitive, *data.inputs}
    notes += [
        f"{path} has no column '{name}': fairness by '{name}' is not judged"
        for name in wanted
        if name not in there
    ]
    return notes
