import json

import numpy as np
import pytest
from scipy import stats

from monitors.performance.labels import CorrectedRow, JoinedRow, corrections, joined_rows
from monitors.performance.mean_score import MeanScoreMonitor
from monitors.performance.ranking import RANKING_SCORES
from monitors.performance.regression_error import REGRESSION_ERRORS


def errors(limit=None, judged="mae", window=10, **options):
    return MeanScoreMonitor(REGRESSION_ERRORS, judged, limit, "above", window, **options)


def rows(truths, first=0, predicted=0.0):
    made = [JoinedRow(predicted, float(y), {}, first + at) for at, y in enumerate(truths)]
    return joined_rows(made, 1.0)


def test_means_of_a_window_with_their_intervals():
    truths = np.random.default_rng(0).exponential(size=10)
    mae, rmse = errors().update(rows(truths), now=0)
    assert (mae.metric, mae.value) == ("mae", pytest.approx(truths.mean()))
    expected = stats.t.interval(0.95, 9, truths.mean(), stats.sem(truths))
    assert mae.ci == pytest.approx(expected)
    squares = truths**2
    assert (rmse.metric, rmse.value) == ("rmse", pytest.approx(squares.mean() ** 0.5))
    low, high = stats.t.interval(0.95, 9, squares.mean(), stats.sem(squares))
    assert rmse.ci == pytest.approx((max(low, 0) ** 0.5, high**0.5))
    assert (mae.reason, mae.breached, mae.threshold) == ("no threshold set", None, None)


@pytest.mark.parametrize("judged", ["mae", "rmse"])
def test_the_verdict_is_a_one_sided_t_test_of_the_judged_measure(judged):
    truths = np.random.default_rng(1).exponential(size=10)
    found = {f.metric: f for f in errors(0.5, judged).update(rows(truths), now=0)}
    scores, limit = (truths, 0.5) if judged == "mae" else (truths**2, 0.25)
    expected = stats.ttest_1samp(scores, limit, alternative="greater").pvalue
    assert found[judged].p_value == pytest.approx(expected)
    (other,) = set(found) - {judged}
    assert found[other].breached is None


def test_ranks_are_judged_from_below():
    monitor = MeanScoreMonitor(RANKING_SCORES, "mrr", 0.9, "below", 50)
    scores = [[0.9, 0.5, 0.1]] * 50
    truths = [[1.0, 0.0, 0.0]] * 25 + [[0.0, 0.0, 1.0]] * 25
    made = [JoinedRow(s, t, {}, at) for at, (s, t) in enumerate(zip(scores, truths, strict=True))]
    mrr, ndcg = monitor.update(joined_rows(made, 1.0), now=0)
    assert (mrr.metric, mrr.direction, mrr.breached) == ("mrr", "below", True)
    assert mrr.value == pytest.approx((1 + 1 / 3) / 2)
    assert (ndcg.metric, ndcg.breached, ndcg.value) == ("ndcg", None, pytest.approx(0.75))


def test_false_alarms_of_errors_that_are_just_small_enough():
    rng = np.random.default_rng(0)
    monitor = errors(1.0, window=200, false_alarm_rate=0.05)
    alarms = sum(
        bool(monitor.update(rows(rng.exponential(size=200)), now=0)[0].breached) for _ in range(400)
    )
    assert alarms / 400 <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5


@pytest.mark.parametrize(("limit", "breached"), [(1.0, True), (2.0, False), (3.0, False)])
def test_rows_that_are_all_alike_are_judged_too(limit, breached):
    mae, _ = errors(limit).update(rows([2.0] * 10), now=0)
    assert (mae.value, mae.ci, mae.breached) == (2, (2, 2), breached)


def test_answers_that_are_no_numbers_are_in_no_mean():
    monitor = errors(1.0)
    mae, _ = monitor.update(rows([5.0] * 10, predicted=None), now=0)
    assert (mae.n_current, mae.breached) == (0, None)
    assert mae.reason == "too few answers of the window were numbers"
    monitor.update(rows([5.0] * 5, predicted=None), now=0)
    mae, _ = monitor.update(rows([2.0] * 5), now=0)
    assert (mae.n_current, mae.value, mae.breached) == (5, 2, True)
    json.dumps(monitor.state(), allow_nan=False)


def corrected(*moved):
    return corrections([CorrectedRow(0.0, a, b, position=at) for at, a, b in moved], 9.0)


def test_corrections_in_any_order_give_what_the_last_labels_alone_give():
    rng = np.random.default_rng(2)
    monitor, plain = errors(0.5), errors(0.5)
    final = rng.exponential(size=25)
    first = final.copy()
    wrong = rng.permutation(25)[:12]
    first[wrong] += rng.normal(size=12)
    monitor.update(rows(first), now=0)
    for at in wrong.tolist():
        monitor.revise(corrected((at, first[at], 7.0), (at, 7.0, final[at])), now=0)
    plain.update(rows(final), now=0)
    state, expected = monitor.state(), plain.state()
    assert state["current"] == expected["current"]
    assert state["latest"] == expected["latest"]
    for mine, theirs in zip(state["findings"][-2:], expected["findings"][-2:], strict=True):
        revised = 2 * sum(10 <= at < 20 for at in wrong)
        assert mine == {**theirs, "revised": revised}


def test_goes_on_after_a_restart():
    monitor = errors(0.5)
    monitor.update(rows(np.arange(13.0)), now=0)
    other = errors(0.5)
    kept = other.restore(json.loads(json.dumps(monitor.state())))
    assert [found.metric for found in kept] == ["mae", "rmse"]
    for one in (monitor, other):
        one.revise(corrected((2, 2.0, 0.0), (11, 11.0, 0.0)), now=1)
    assert monitor.update(rows(np.ones(7), 13), 1) == other.update(rows(np.ones(7), 13), 1) != []
    assert errors(0.7).restore(monitor.state()) == []
    with pytest.raises(ValueError, match="other measures"):
        MeanScoreMonitor(RANKING_SCORES, "mrr", 0.5, "below", 10).restore(monitor.state())
