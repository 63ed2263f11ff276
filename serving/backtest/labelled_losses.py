"""How wrong a model was, row by row, where the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from serving.backtest.happenings import Labelled, Past, Predicted
from serving.config import ModelConfig, OutputSpec
from serving.errors import Unsupported
from serving.models.label_kind import label_kind
from serving.models.profile.columns import input_columns
from serving.monitoring.event_decoding import PredictionEvent
from serving.protocol.datatypes import bf16_to_fp32

Progress = Callable[[str, int, int], None]


class LabelledLosses(NamedTuple):
    """Rows whose truth is known, in the order of their times.

    Attributes:
        times: seconds since the epoch, float64 [n].
        columns: of the inputs, by name, [n] each.
        losses: 1 where a class was wrong, 0 where it was right; of numbers the absolute error,
            float64 [n].
        groups: sensitive values as text by attribute, None where there is none, objects [n] each.
    """

    times: np.ndarray
    columns: Mapping[str, np.ndarray]
    losses: np.ndarray
    groups: Mapping[str, np.ndarray]

    def some(self, which: np.ndarray) -> LabelledLosses:
        """Return those rows, bool [n]."""
        columns, groups = (
            {name: each[which] for name, each in named.items()}
            for named in (self.columns, self.groups)
        )
        return LabelledLosses(self.times[which], columns, self.losses[which], groups)


def labelled_losses(
    past: Past, config: ModelConfig, progress: Progress = lambda what, done, total: None
) -> LabelledLosses:
    """Return how wrong each row was.

    Raises:
        Unsupported: labels of the model are neither classes nor numbers, one a row.
        InvalidInput: a label is of another kind.
    """
    kind = label_kind(config)
    if kind is None or config.label_kind == "ranking":
        raise Unsupported("only of a model that answers classes or numbers it is known how wrong")
    output = config.outputs[0]
    events: list[Predicted] = []
    truth: dict[tuple[str, int], Any] = {}
    done = 0
    for happened in past:
        if isinstance(happened, Labelled):
            for label in happened.labels:
                truth[label.request_id, label.index] = kind.read(label.y_true)
        else:
            events.append(happened)
            done += happened.event.rows
            progress("rows", done, past.rows)
    times: list[float] = []
    losses: list[float] = []
    parts: list[Mapping[str, np.ndarray]] = []
    groups: list[Mapping[str, np.ndarray]] = []
    for each in events:
        event = each.event
        keys = zip(event.request_ids, event.row_index.tolist(), strict=True)
        truths = [truth.get(key) for key in keys]
        known = np.array([one is not None for one in truths], np.bool_)
        if not known.any():
            continue
        predicted = kind.predicted(answers_of(event, output))[known]
        right = np.array([one for one in truths if one is not None])
        losses += _losses(predicted, right, classes=config.label_kind == "classes").tolist()
        times += [each.time] * int(known.sum())
        columns = input_columns(event.inputs, config)
        parts.append({name: values[known] for name, values in columns.items()})
        given = event.sensitive_features
        groups.append({name: values[known] for name, values in given.items()})
    return LabelledLosses(np.array(times), joined(parts), np.array(losses), joined(groups))


def answers_of(event: PredictionEvent, output: OutputSpec) -> np.ndarray:
    """Return what a model answered in an output, as numbers that can be compared."""
    answers = event.outputs[output.name]
    if output.datatype == "BF16":  # which travels as its bits
        return bf16_to_fp32(answers)
    return answers


def joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return columns one after the other, of the names that the first part has."""
    names = parts[0] if parts else ()
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _losses(predicted: np.ndarray, right: np.ndarray, *, classes: bool) -> np.ndarray:
    if classes:
        return np.where(predicted == right, 0.0, 1.0)
    errors = np.abs(predicted.astype(np.float64) - right.astype(np.float64))
    return np.asarray(errors.reshape(len(errors), -1).mean(axis=1))
