import json

import numpy as np
import pytest

from monitors.performance.labels import CorrectedRow, JoinedRow, corrections, joined_rows
from monitors.performance.overall import OverallScores
from monitors.performance.regression_error import REGRESSION_ERRORS
from monitors.performance.row_scores import CLASS_SCORES


def test_accuracy_of_all_rows_with_corrections():
    overall = OverallScores(CLASS_SCORES)
    assert overall.scores == {}
    overall.add(joined_rows([JoinedRow(1, 1), JoinedRow(0, 1), JoinedRow(-1, 1)], 0.0))
    overall.add(joined_rows([JoinedRow(1, 1)], 0.0))
    assert overall.scores == {"accuracy": 0.5}
    moved = [CorrectedRow(1, 1, 0, position=0), CorrectedRow(1, 0, 2, position=0)]
    overall.revise(corrections(moved, 0.0))
    assert overall.scores == {"accuracy": 0.25}
    overall.revise(corrections([CorrectedRow(1, 0, 1, position=-1)], 0.0))
    assert overall.scores == {"accuracy": 0.25}


def test_errors_of_all_rows_but_those_without_a_number():
    overall = OverallScores(REGRESSION_ERRORS)
    overall.add(joined_rows([JoinedRow(None, 1.0), JoinedRow(2.0, 5.0), JoinedRow(1.0, 2.0)], 0.0))
    assert overall.scores == {"mae": 2, "rmse": pytest.approx(5**0.5)}
    overall.revise(corrections([CorrectedRow(2.0, 5.0, 2.0, position=1)], 0.0))
    assert overall.scores == {"mae": 0.5, "rmse": pytest.approx(0.5**0.5)}
    several = OverallScores(REGRESSION_ERRORS)
    several.add(joined_rows([JoinedRow(None, [1.0, 2.0]), JoinedRow([1.0, 1.0], [2.0, 4.0])], 0.0))
    assert several.scores["mae"] == 2


def test_goes_on_after_a_restart_with_the_same_measures():
    overall = OverallScores(CLASS_SCORES)
    overall.add(joined_rows([JoinedRow(1, 1), JoinedRow(0, 1)], 0.0))
    saved = json.loads(json.dumps(overall.state()))
    again, other = OverallScores(CLASS_SCORES), OverallScores(REGRESSION_ERRORS)
    again.restore(saved)
    other.restore(saved)
    assert again.scores == {"accuracy": 0.5}
    assert other.scores == {}
    assert np.isfinite(list(saved["sums"].values())).all()
