"""Labels, and how predictions whose label is known become one batch for the monitors."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from monitors.performance.labels import JoinedRow, LabelEvent, joined_rows


def test_joined_rows_are_one_batch_for_the_monitors():
    joined = [
        JoinedRow(1, 0, {"sex": "f"}),
        JoinedRow(-1, 2),
        JoinedRow(0, 0, {"sex": "m", "age": "old"}),
    ]
    rows = joined_rows(joined, timestamp=5.0)
    assert (rows.n, rows.timestamp) == (3, 5.0)
    assert (rows.predicted.tolist(), rows.labels.tolist()) == ([1, -1, 0], [0, 2, 0])
    assert {name: values.tolist() for name, values in rows.groups.items()} == {
        "sex": ["f", None, "m"],
        "age": [None, None, "old"],
    }


def test_arrays_have_the_types_that_monitors_count_on():
    rows = joined_rows([JoinedRow(2**40, 1, {"sex": "f"})], 0)
    assert rows.predicted.dtype == rows.labels.dtype == np.int64
    assert rows.predicted.tolist() == [2**40]
    assert rows.groups["sex"].dtype == np.object_


def test_a_value_that_is_empty_is_none_that_is_missing():
    rows = joined_rows([JoinedRow(0, 0, {"sex": ""}), JoinedRow(0, 0)], 0)
    assert rows.groups["sex"].tolist() == ["", None]


def test_no_rows_are_an_empty_batch():
    rows = joined_rows([], timestamp=7)
    assert (rows.n, rows.timestamp, dict(rows.groups)) == (0, 7, {})
    assert rows.predicted.shape == rows.labels.shape == (0,)
    assert rows.predicted.dtype == rows.labels.dtype == np.int64


def test_they_hold_nothing_of_requests():
    rows = joined_rows([JoinedRow(1, 1)], 0)
    assert (rows.columns, rows.outputs) == ({}, {})
    assert len(rows.request_ids) == len(rows.row_index) == 0


def test_a_label_needs_no_more_than_row_and_truth():
    one, other = LabelEvent("a", 0, "cat"), LabelEvent("a", 0, "cat")
    assert one == other
    assert one.timestamp is None
    assert one.sensitive_features == {}
    assert one.sensitive_features is not other.sensitive_features
    assert JoinedRow(1, 1).sensitive_features is not JoinedRow(1, 1).sensitive_features


@pytest.mark.parametrize("value", [LabelEvent("a", 0, 1), JoinedRow(1, 1)])
def test_they_do_not_change(value):
    with pytest.raises(FrozenInstanceError):
        value.y_true = 2
