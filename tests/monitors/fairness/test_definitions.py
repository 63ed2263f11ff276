import numpy as np
import pytest
from fairlearn import metrics
from sklearn.metrics import accuracy_score, precision_score

from monitors.fairness.definitions import (
    CALIBRATION,
    DEFINITIONS,
    DIFFERENCES,
    MAE,
    MEAN_ERROR,
    RATIOS,
    Rate,
)

OF = {
    "selection_rate": metrics.selection_rate,
    "true_positive_rate": metrics.true_positive_rate,
    "false_positive_rate": metrics.false_positive_rate,
    "precision": precision_score,
    "accuracy": accuracy_score,
    "false_discovery_rate": lambda truth, said: 1 - precision_score(truth, said),
    "false_omission_rate": lambda truth, said: 1 - precision_score(truth, said, pos_label=0),
}
RATES: dict[str, Rate] = {rate.name: rate for each in DEFINITIONS for rate in each.figures}


@pytest.mark.parametrize("name", OF)
def test_rates_are_fairlearns(name):
    rng = np.random.default_rng(1)
    truth, said = rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    rate = RATES[name]
    column = 2 * truth + said if rate.labelled else said
    counts = np.bincount(column, minlength=4 if rate.labelled else 2)[None, :]
    hits, rows = rate.of(counts)
    assert hits[0] / rows[0] == pytest.approx(OF[name](truth, said), abs=1e-12)


def test_every_rate_is_compared_with_fairlearn():
    assert RATES.keys() == OF.keys()


def test_names_are_those_of_the_configuration():
    from serving.config.monitoring import Tolerance

    of_means = {
        f"{each.name}_{kind}"
        for each in (CALIBRATION, MAE, MEAN_ERROR)
        for kind in (("difference",) if each.signed else ("difference", "ratio"))
    }
    assert set(Tolerance.model_fields) == {*DIFFERENCES, *RATIOS} | of_means
