"""Our rates, from the counts of published tables, are those that were published.

Larson, Mattu, Kirchner and Angwin (2016), "How We Analyzed the COMPAS Recidivism Algorithm",
ProPublica: two-year recidivism, high risk against low. False positive and false negative rates are
printed there as 44.85 and 27.99 % of black, 23.45 and 47.72 % of white defendants; predictive
values as .63 and .65, .59 and .71.
"""

from __future__ import annotations

import numpy as np
import pytest

from monitors.fairness.comparison import compare, worst
from monitors.fairness.definitions import (
    DEFINITIONS,
    FALSE_DISCOVERY_RATE,
    FALSE_OMISSION_RATE,
    FALSE_POSITIVE_RATE,
    PRECISION,
    TRUE_POSITIVE_RATE,
)

# True negatives, false positives, false negatives, true positives.
BLACK, WHITE = (990, 805, 532, 1369), (1139, 349, 461, 505)
COUNTS = np.array([[BLACK, WHITE]], float)


def rates(rate):
    hits, rows = rate.of(COUNTS)
    return (hits / rows)[0]


def test_error_rates_of_compas_to_four_digits():
    assert np.round(rates(FALSE_POSITIVE_RATE), 4).tolist() == [0.4485, 0.2345]
    assert np.round(1 - rates(TRUE_POSITIVE_RATE), 4).tolist() == [0.2799, 0.4772]


def test_predictive_values_of_compas():
    assert np.round(rates(PRECISION), 2).tolist() == [0.63, 0.59]
    assert np.round(1 - rates(FALSE_OMISSION_RATE), 2).tolist() == [0.65, 0.71]
    assert rates(FALSE_DISCOVERY_RATE) == pytest.approx(1 - rates(PRECISION))


@pytest.mark.parametrize(
    ("name", "difference", "ratio"),
    [
        ("equal_opportunity", 0.7201 - 0.5228, 0.5228 / 0.7201),
        ("equalized_odds", 0.4485 - 0.2345, 0.2345 / 0.4485),
        ("predictive_parity", 1369 / 2174 - 505 / 854, (505 / 854) / (1369 / 2174)),
        ("false_discovery_rate", 349 / 854 - 805 / 2174, (805 / 2174) / (349 / 854)),
        ("false_omission_rate", 532 / 1522 - 461 / 1600, (461 / 1600) / (532 / 1522)),
    ],
)
def test_disparities_of_compas(name, difference, ratio):
    [definition] = [each for each in DEFINITIONS if each.name == name]
    alpha = np.array([0.05]) / len(definition.figures)
    found = worst([compare(*rate.of(COUNTS), alpha, 100) for rate in definition.figures])
    assert found.difference[0] == pytest.approx(difference, abs=2e-4)
    assert found.ratio[0] == pytest.approx(ratio, abs=4e-4)
    assert found.low[0] < found.difference[0] < found.high[0]


def test_error_rates_of_compas_differ_and_predictive_values_hardly_do():
    def low(rate):
        return compare(*rate.of(COUNTS), np.array([0.05]), 100).low[0]

    assert low(FALSE_POSITIVE_RATE) > 0.15
    assert low(PRECISION) < 0.02
