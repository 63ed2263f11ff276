from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from monitors.performance.labels import LabelEvent
from serving.backtest.happenings import Labelled, Predicted
from serving.config import ModelConfig
from serving.monitoring.event_decoding import PredictionEvent
from serving.reports.rows import MOST_BYTES, MOST_ROWS, most_rows, read_rows, recent_rows


@dataclass
class Told:
    """A past that is just what a test says."""

    happenings: list
    notes: list = field(default_factory=list)

    def __iter__(self):
        return iter(self.happenings)


def answered(time, ident, scores, **sensitive):
    n = len(scores)
    event = PredictionEvent(
        timestamp=time,
        request_ids=[ident] * n,
        row_index=np.arange(n),
        inputs={"x": np.ones((n, 2), np.float32), "words": np.full((n, 1), b"car", object)},
        outputs={"p": np.array(scores, np.float32)},
        sensitive_features={k: np.array(v, object) for k, v in sensitive.items()},
    )
    return Predicted(time, "1", event)


def label(time, ident, index, truth):
    return Labelled(time, [LabelEvent(ident, index, truth, {}, time)])


def test_labels_meet_their_rows_however_late(config):
    past = Told([
        answered(1.0, "a", [[0.9, 0.1], [0.2, 0.8]], sex=["F", None]),
        answered(2.0, "b", [[0.4, 0.6]], sex=["M"]),
        label(9.0, "a", 1, "no"),
        label(9.5, "b", 0, "yes"),
    ])  # fmt: skip
    rows = read_rows(past, config)
    assert rows.labelled.tolist() == [False, True, True]
    assert rows.labels.tolist() == [0, 1]
    assert rows.predicted.tolist() == [0, 1, 1]
    assert rows.groups["sex"].tolist() == ["F", None, "M"]
    assert rows.times.tolist() == [1.0, 1.0, 2.0]
    assert rows.outcomes(np.array([True, True, False])).labels.tolist() == [0]


def test_only_attributes_that_all_rows_have_are_there(config):
    past = Told([answered(1.0, "a", [[1, 0]], sex=["F"]), answered(2.0, "b", [[1, 0]])])
    assert read_rows(past, config).groups == {}


def test_answers_that_are_neither_have_no_labels_and_that_is_said(config):
    event = answered(1.0, "a", [[1, 0]])
    event.event.outputs.clear()
    rows = read_rows(Told([event, label(2.0, "a", 0, "no")], ["one note", "one note"]), config)
    assert rows.predicted is None
    assert not rows.labelled.any()
    assert rows.notes == (
        "one note",
        "the model's answers are neither classes, numbers nor rankings",
    )


@pytest.mark.parametrize(
    ("width", "rows"), [(2, MOST_ROWS), (100_000, 1000), (4094, MOST_BYTES // (8 * 4096))]
)
def test_wide_rows_are_fewer(config, width, rows):
    raw = config.model_dump(exclude={"fairness"})
    raw["inputs"] = [{"name": "x", "datatype": "FP32", "shape": [-1, width]}]
    assert most_rows(ModelConfig.model_validate(raw)) == rows


def test_of_recent_rows_only_inputs_are_known():
    rows = recent_rows({"age": np.arange(5.0)})
    assert (rows.rows, rows.predicted, rows.labelled.any()) == (5, None, False)
    assert recent_rows({}).rows == 0
