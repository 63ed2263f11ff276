import json

import numpy as np
import pytest

from monitors.performance.score_column import (
    MOST_SCORES,
    ScoreColumn,
    restored,
    without_rows,
)

SCORES = np.array([[0.25, 0.75], [1, 0]], np.float32)


def test_rows_without_scores_have_none():
    column = ScoreColumn()
    column.add(1)
    assert (len(column), column.row(0), column.saved(0, 1)) == (1, None, None)
    column.add(2, SCORES)
    column.add(1)
    assert len(column) == 4
    assert [column.row(at) for at in range(4)] == [None, [0.25, 0.75], [1.0, 0.0], None]


def test_it_grows_and_gives_back_places():
    column = ScoreColumn()
    for step in range(500):
        column.add(3, np.full((3, 2), float(step)))
    assert column.row(1499) == [499.0, 499.0]
    column.drop(1498)
    assert len(column) == 2
    assert column.row(1) == [499.0, 499.0]
    column.add(1, SCORES[:1])
    assert column.row(2) == [0.25, 0.75]
    assert column.take([2, 0]).row(0) == [0.25, 0.75]


@pytest.mark.parametrize("wrong", [np.ones((2, 3)), np.ones((2, 0))])
def test_another_number_of_classes_is_no_score(wrong):
    column = ScoreColumn()
    column.add(2, SCORES)
    column.add(2, wrong)
    assert (len(column), column.row(3)) == (4, None)


def test_too_many_classes_have_none():
    column = ScoreColumn()
    column.add(1, np.ones((1, MOST_SCORES + 1)))
    assert (len(column), column.row(0)) == (1, None)


def test_what_is_saved_is_what_there_is():
    column = ScoreColumn()
    column.add(1)
    column.add(2, SCORES)
    column.blank(1)
    told = json.loads(json.dumps(column.saved(0, 3)))
    back = restored(told)
    assert np.isnan(back[:2]).all()
    assert back[2].tolist() == [1, 0]
    assert restored(None) is None
    assert without_rows(None, [True]) is None
    assert np.isnan(restored(without_rows(told, [False, False, True]))).all()
    assert not np.isnan(restored(without_rows(told, [True, True, False]))[2]).any()


def test_what_is_not_whole_is_refused():
    with pytest.raises(ValueError, match="reshape"):
        restored([3, saved_scores()[1]])


def saved_scores():
    column = ScoreColumn()
    column.add(1, SCORES[:1])
    return column.saved(0, 1)
