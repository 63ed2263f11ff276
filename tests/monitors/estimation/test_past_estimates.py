import json

import numpy as np
import pytest
from numpy.testing import assert_equal

from monitors.estimation.past_estimates import PastEstimates


def test_a_row_has_the_estimates_of_the_window_that_it_was_in():
    past = PastEstimates(["accuracy", "auroc"])
    assert np.isnan(past.at(np.array([5.0]))).all()
    past.add(10.0, {"accuracy": 0.9, "auroc": 0.8})
    past.add(20.0, {"accuracy": 0.7})
    found = past.at(np.array([0.0, 10.0, 19.9, 20.0, 1e9]))
    assert found[:, 0].tolist() == [0.9, 0.9, 0.9, 0.7, 0.7]
    assert_equal(found[:, 1], [0.8, 0.8, 0.8, np.nan, np.nan])


def test_memory_is_bounded_and_the_latest_windows_stay():
    past = PastEstimates(["accuracy"])
    for at in range(5000):
        past.add(float(at), {"accuracy": float(at)})
    assert len(past.state()["times"]) <= 512
    assert past.at(np.array([4999.0, 4990.5]))[:, 0].tolist() == [4999.0, 4990.0]
    asked = np.arange(0.0, 5000.0, 7)
    # Ten days back it is known to hours, an hour back to minutes.
    assert (np.abs(past.at(asked)[:, 0] - asked) <= np.maximum(0.05 * (5000 - asked), 1)).all()


def test_outlives_a_restart_of_the_same_metrics():
    past, again = PastEstimates(["a", "b"]), PastEstimates(["a", "b"])
    past.add(1.0, {"a": 0.5})
    again.restore(json.loads(json.dumps(past.state(), allow_nan=False)))
    assert_equal(again.at(np.array([2.0])), past.at(np.array([2.0])))
    with pytest.raises(ValueError, match="other metrics"):
        PastEstimates(["a"]).restore(past.state())
