"""Figures of numbers are scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from monitors.performance.metrics.estimate import Level, Outcomes
from monitors.performance.metrics.number_metrics import ALIKE, NO_NUMBERS, NumberCounts

LEVEL = Level(np.array([0.025]), np.array([1.0]))


def counted(counts, predicted, labels, amount=1.0, sums=None):
    sums = np.zeros(counts.columns) if sums is None else sums
    counts.add(sums, Outcomes(predicted, labels), amount)
    return sums


def estimates(counts, sums, level=LEVEL):
    return {each.name: each.of(sums[None], level) for each in counts.metrics}


def draw(n, width=1, seed=0, offset=0.0):
    rng = np.random.default_rng(seed)
    labels = rng.normal(size=(n, width)) * 3 + offset
    predicted = labels + rng.normal(size=(n, width))
    return (predicted[:, 0], labels[:, 0]) if width == 1 else (predicted, labels)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_equal_scikit_learn(width, offset):
    predicted, labels = draw(300, width, offset=offset)
    counts = NumberCounts(width, quantile=0.9)
    found = estimates(counts, counted(counts, predicted, labels))
    expected = {
        "mae": sklearn_metrics.mean_absolute_error(labels, predicted),
        "rmse": sklearn_metrics.mean_squared_error(labels, predicted) ** 0.5,
        "quantile_loss": sklearn_metrics.mean_pinball_loss(labels, predicted, alpha=0.9),
        "r2": sklearn_metrics.r2_score(labels, predicted),
    }
    values = {name: each.value[0] for name, each in found.items()}
    assert values == pytest.approx(expected, rel=1e-12 if not offset else 1e-9)
    for each in found.values():
        assert each.low[0] < each.value[0] < each.high[0]


@pytest.mark.parametrize("name", ["mae", "rmse", "r2"])
def test_the_bound_on_the_bad_side_holds_at_its_level(name):
    counts = NumberCounts(1)
    level = Level(np.array([0.05]), np.array([1.0]))
    truth = estimates(counts, counted(counts, *draw(500_000, seed=1)))[name].value[0]
    drawn = [
        estimates(counts, counted(counts, *draw(200, seed=seed)), level)[name]
        for seed in range(10, 610)
    ]
    wrong = [each.high[0] < truth if name == "r2" else each.low[0] > truth for each in drawn]
    assert 0 < np.mean(wrong) <= 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5


def test_one_wild_number_spoils_no_other_sum():
    counts = NumberCounts(1)
    wild = counted(counts, np.array([1e75]), np.array([0.0]))
    assert np.isfinite(wild).all()
    later = counted(counts, *draw(100))
    assert estimates(counts, later)["mae"].value[0] < 2


def test_batches_do_not_matter_and_rows_can_be_taken_away():
    predicted, labels = draw(100)
    whole, parts = NumberCounts(1), NumberCounts(1)
    sums, of_parts = counted(whole, predicted, labels), np.zeros(parts.columns)
    for at in range(0, 100, 9):
        counted(parts, predicted[at : at + 9], labels[at : at + 9], sums=of_parts)
    assert sums.tolist() == of_parts.tolist()
    counted(whole, predicted, labels, -1.0, sums)
    assert np.abs(sums).max() < 1e-9


def test_what_has_no_value_says_why():
    counts = NumberCounts(1)
    nothing = counted(counts, np.full(9, np.nan), np.zeros(9))
    assert all(np.isnan(each.value[0]) for each in estimates(counts, nothing).values())
    assert {each.why(nothing) for each in counts.metrics} == {NO_NUMBERS}
    alike = counted(counts, np.arange(9.0), np.full(9, 7.1))
    found = estimates(counts, alike)
    assert np.isnan(found["r2"].value[0])
    assert counts.metrics[-1].why(alike) == ALIKE
    assert found["mae"].value[0] > 0


def test_errors_that_are_all_alike_are_known_exactly():
    counts = NumberCounts(1)
    found = estimates(counts, counted(counts, np.full(50, 0.1), np.zeros(50)))["mae"]
    assert (found.low[0], found.high[0]) == pytest.approx((0.1, 0.1), rel=1e-12)
    assert found.error[0] == 0


def test_state_brings_the_origin_back():
    counts, again = NumberCounts(1), NumberCounts(1)
    predicted, labels = draw(20, offset=1e8)
    sums = counted(counts, predicted, labels)
    again.restore(counts.state())
    assert counted(again, predicted, labels).tolist() == sums.tolist()
    assert NumberCounts(2).signature != counts.signature
