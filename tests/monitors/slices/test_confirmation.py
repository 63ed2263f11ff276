import numpy as np
import pytest
from scipy import stats

from monitors.slices.confirmation import error_confirmed, fisher, gap_confirmed, worse_by


@pytest.mark.parametrize(("a", "n", "b", "m"), [(5, 20, 30, 400), (0, 5, 3, 9), (7, 7, 0, 50)])
def test_fisher_equals_scipy(a, n, b, m):
    expected = stats.fisher_exact([[a, n - a], [b, m - b]], "greater").pvalue
    assert fisher(a, n, b, m) == pytest.approx(expected)


def test_losses_are_compared_by_welch():
    rng = np.random.default_rng(0)
    errors, inside = rng.exponential(size=500), np.arange(500) < 60
    errors[inside] *= 1.4
    found = error_confirmed(errors, inside, 0.95)
    expected = stats.ttest_ind(errors[inside], errors[~inside], equal_var=False,
                               alternative="greater")  # fmt: skip
    assert found.p_value == pytest.approx(expected.pvalue)
    interval = stats.t.interval(0.95, 59, errors[inside].mean(), stats.sem(errors[inside]))
    assert (found.low, found.high) == pytest.approx(interval)


def test_errors_of_zero_and_one_are_compared_exactly():
    errors, inside = (np.arange(200) % 10 == 0) * 1.0, np.arange(200) < 40
    errors[:10] = 1
    found = error_confirmed(errors, inside, 0.95)
    assert found.value == errors[:40].mean()
    assert found.low < found.value < found.high
    assert found.p_value == fisher(int(errors[:40].sum()), 40, int(errors[40:].sum()), 160)


def test_gaps_are_compared_with_the_gap_of_the_rest():
    rng = np.random.default_rng(1)
    n = 8000
    members, inside = rng.random(n) < 0.5, rng.random(n) < 0.2
    p_values = {}
    for extra in (0.0, -0.2):
        rate = 0.5 + 0.1 * members + extra * (members & inside)
        found = gap_confirmed((rng.random(n) < rate) * 1.0, members, inside, 0.95)
        p_values[extra] = found.p_value
        assert found.low <= found.value <= found.high
        assert abs(found.value - (0.1 + extra)) < 0.1
    assert p_values[0.0] > 0.01
    assert p_values[-0.2] < 1e-6


def test_too_few_rows_have_no_verdict():
    one = np.arange(10) < 1
    assert error_confirmed(np.arange(10.0), one, 0.95).p_value == 1
    assert gap_confirmed(one * 1.0, one, one, 0.95).p_value == 1
    assert worse_by(np.array([1.0]), np.zeros(5)) == 0
    alike = error_confirmed(np.full(10, 3.0), np.arange(10) < 5, 0.95)
    assert alike.p_value == 1


def test_standard_errors():
    own, rest = np.array([1.0, 1.0, 0.0, 1.0]), np.zeros(4)
    spread = np.concatenate((own, rest)).var() * 0.5
    assert worse_by(own, rest) == pytest.approx(0.75 / spread**0.5)
    assert worse_by(rest, rest) == 0
