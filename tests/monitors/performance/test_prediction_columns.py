from itertools import repeat

import numpy as np
import pytest

from monitors.performance.prediction_columns import NO_KEY, PredictionColumns
from monitors.performance.score_column import restored

SEX = {"sex": "F"}


@pytest.fixture
def columns():
    made = PredictionColumns(5)
    made.add([("a", 0), ("b", 0)], [0, None], repeat(1.0))
    made.add([("c", 1)], [2], repeat(2.0), [SEX], np.array([[0.25, 0.75]]))
    return made


def test_rows_have_numbers_that_follow_each_other(columns):
    assert (columns.base, columns.end) == (5, 8)
    row = columns.row(7)
    assert (row.key, row.number, row.predicted, row.timestamp) == (("c", 1), 7, 2, 2.0)
    assert (row.groups, row.label, row.entry) == (SEX, None, 0)
    assert list(columns.numbered(6, 99)) == [(6, ("b", 0)), (7, ("c", 1))]
    assert row.scores == [0.25, 0.75]
    keys, predicted, times, groups, scores = columns.values(5, 7)
    assert (keys, predicted) == ([("a", 0), ("b", 0)], [0, None])
    assert (times, groups) == ([1.0, 1.0], [{}, {}])
    assert np.isnan(restored(scores)).tolist() == [[True, True]] * 2
    assert list(columns.predicted()) == [(5, 0), (6, None), (7, 2)]


def test_places_are_given_back_and_numbers_stay(columns):
    columns.drop_before(7)
    assert (columns.base, columns.end) == (7, 8)
    assert columns.row(7).key == ("c", 1)
    assert columns.row(7).scores == [0.25, 0.75]
    columns.add([("d", 0)], [1], repeat(3.0))
    assert columns.row(8).timestamp == 3.0


def test_a_row_is_taken_out_of_its_place(columns):
    columns.blank(6)
    assert columns.row(6).key == NO_KEY
    columns.blank(7)
    assert (columns.row(7).groups, columns.row(7).scores) == ({}, None)
    assert columns.end == 8


def test_some_rows_get_numbers_that_follow_on_all_others(columns):
    some = columns.only([5, 7])
    assert list(some.numbered(8, 10)) == [(8, ("a", 0)), (9, ("c", 1))]
    assert some.row(9).groups == SEX
    assert some.row(9).scores == [0.25, 0.75]
    assert some.row(8).scores is None
    assert columns.end == 8


WRONG = [
    ([0], None, None),
    ([0, 1], [SEX], None),
    ([0, 1], None, np.ones((1, 2))),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_differs_in_length_is_refused_as_a_whole(columns, wrong):
    predicted, *others = wrong
    with pytest.raises(ValueError, match="differ in length"):
        columns.add([("d", 0), ("e", 0)], predicted, repeat(3.0), *others)
    assert columns.end == 8
    assert len(columns.values(5, 8)[1]) == 3
