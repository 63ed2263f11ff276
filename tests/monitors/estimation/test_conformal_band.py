from dataclasses import replace

import numpy as np
import pytest

from monitors.estimation.conformal_band import BandedEstimator, conformal_reach
from monitors.estimation.predictions import LabelledPredictions, Predictions


def mean_label(rows):
    mean = float(rows.labels.mean())
    return lambda predictions: {"mean": mean}


def realise(rows):
    return {"mean": float(rows.labels.mean())}


def labelled(labels, time=None):
    return LabelledPredictions(
        predictions=Predictions(features={}, predicted=labels), labels=labels, time=time
    )


def test_reach_is_the_conformal_quantile():
    errors = np.arange(1, 20) / 100  # 19 chunks
    assert conformal_reach(errors[::-1], 0.1) == 0.18
    assert conformal_reach(errors, 0.05) == 0.19
    assert conformal_reach(errors, 0.04) == np.inf
    assert conformal_reach(np.append(errors, np.nan), 0.05) == 0.19


def test_bands_cover_what_is_exchangeable():
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(300):
        reference = labelled(rng.normal(size=20 * 30))
        estimator = BandedEstimator(reference, mean_label, realise, chunk_rows=30, alpha=0.1)
        live = labelled(rng.normal(size=30))
        found = estimator.estimate(live.predictions)["mean"]
        inside.append(found.low <= live.labels.mean() <= found.high)
    assert 0.86 <= np.mean(inside) <= 0.96


def test_chunks_follow_time_where_there_is_one():
    levels = np.repeat([0.0, 1.0] * 10, 50)
    order = np.random.default_rng(0).permutation(1000)
    timed = labelled(levels[order], np.arange(1000.0)[order])
    in_order = BandedEstimator(timed, mean_label, realise, chunk_rows=50)
    assert in_order.reach["mean"] > 0.4
    shuffled = BandedEstimator(replace(timed, time=None), mean_label, realise, chunk_rows=50)
    assert shuffled.reach["mean"] < 0.25
    assert len(shuffled.errors["mean"]) == 20


def test_fewer_rows_have_a_wider_band_and_more_the_same():
    estimator = BandedEstimator(
        labelled(np.random.default_rng(0).normal(size=900)), mean_label, realise, chunk_rows=40
    )
    width = {}
    for n in (10, 40, 160):
        found = estimator.estimate(labelled(np.zeros(n)).predictions)["mean"]
        width[n], rows = found.high - found.low, found.rows
        assert rows == n
        assert found.coverage == 0.9
    assert width[10] == pytest.approx(2 * width[40])
    assert width[160] == pytest.approx(width[40])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"chunk_rows": 50, "alpha": 0.1}, "300 rows of the reference are 6 chunks.* needs 9"),
        ({"chunk_rows": 0}, "chunk_rows is 0"),
        ({"chunk_rows": 10, "alpha": 1.0}, "alpha is 1"),
    ],
)
def test_wrong_settings_are_named(given, told):
    with pytest.raises(ValueError, match=told):
        BandedEstimator(labelled(np.arange(300.0)), mean_label, realise, **given)
