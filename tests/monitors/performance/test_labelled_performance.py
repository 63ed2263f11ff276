import json

import numpy as np
import pytest

from monitors.performance.labelled_performance import LabelledPerformanceMonitor
from monitors.performance.labels import CorrectedRow, JoinedRow, corrections, joined_rows
from monitors.performance.metrics.class_counts import ClassCounts
from monitors.performance.metrics.class_metrics import class_metrics
from monitors.performance.metrics.number_metrics import NumberCounts
from monitors.performance.metrics.score_metrics import score_metrics

HOUR = 3600.0


def classes(window=200, scored=False, budget=1.0, **thresholds):
    counts = ClassCounts(2, 1, scored)
    metrics = (*class_metrics(counts, ["no", "yes"]), *score_metrics(counts))
    return LabelledPerformanceMonitor(counts, metrics, thresholds, window, budget)


def errors(window=10, **thresholds):
    counts = NumberCounts(1)
    return LabelledPerformanceMonitor(counts, counts.metrics, thresholds, window)


def rows(right, timestamp, first=0, scores=None):
    """Rows of both classes, of which some are right."""
    made = [
        JoinedRow(at % 2 if good else 1 - at % 2, at % 2, {}, first + at, scores=scores)
        for at, good in enumerate(right)
    ]
    return joined_rows(made, timestamp)


def stream(monitor, rate, windows, seed=0, start=0, seconds=HOUR, size=200):
    """Feed windows; returns the last findings by metric after each."""
    rng = np.random.default_rng(seed)
    told = []
    for number in range(start, start + windows):
        right = rng.random(size) < (rate(number) if callable(rate) else rate)
        found = monitor.update(rows(right, number * seconds, number * size), now=0)
        told.append({each.metric: each for each in found})
    return told


def test_a_window_has_a_finding_for_each_metric():
    monitor = classes(10)
    assert monitor.update(rows([True] * 6 + [False] * 3, 1.0), now=1) == []
    assert monitor.filled == (9, 10)
    found = {f.metric: f for f in monitor.update(rows([True] * 11, 2.0, 9), now=2)}
    assert list(found) == ["accuracy", "balanced_accuracy", "f1"]
    first = found["accuracy"]
    assert (first.value, first.n_current, first.window) == (1.0, 10, (2.0, 2.0))
    assert first.ci[0] < first.value == first.ci[1]
    assert (first.breached, first.threshold, first.reason) == (None, None, "no threshold set")
    assert first.severity == "page"


def test_a_large_loss_is_found_in_the_first_window_and_said_since_when():
    monitor = classes(accuracy=0.85)
    assert not any(each["accuracy"].breached for each in stream(monitor, 0.9, 20))
    (found,) = stream(monitor, 0.6, 1, start=20)
    accuracy = found["accuracy"]
    assert accuracy.breached is True
    assert accuracy.ci[1] < 0.85
    assert accuracy.since == pytest.approx(20 * HOUR)
    assert accuracy.detail["windows"] == 1
    assert found["f1"].breached is None


def test_a_small_loss_is_found_over_a_longer_lookback():
    monitor = classes(accuracy=0.85)
    told = stream(monitor, lambda at: 0.9 if at < 40 else 0.80, 100)
    breaches = [at for at, each in enumerate(told) if each["accuracy"].breached]
    assert 40 < breaches[0] < 70
    found = told[breaches[0]]["accuracy"]
    assert found.detail["windows"] > 1
    assert found.n_current == 200 * found.detail["windows"]
    assert found.since / HOUR == pytest.approx(40, abs=8)
    assert found.detail["window_value"] != found.value


def test_a_breach_is_over_when_the_last_quarter_of_its_lookback_is_good_again():
    monitor = classes(accuracy=0.85)
    told = stream(monitor, lambda at: 0.6 if 20 <= at < 30 else 0.95, 60)
    breaches = [at for at, each in enumerate(told) if each["accuracy"].breached]
    assert breaches[0] == 20
    assert set(range(20, 30)) <= set(breaches)
    assert breaches[-1] <= 34
    assert told[-1]["accuracy"].breached is False


@pytest.mark.parametrize("limit", [0.9, 0.85])
def test_a_model_that_is_just_good_enough_is_quiet(limit):
    alarms = 0
    for seed in range(3):
        told = stream(classes(accuracy=limit), limit, 300, seed=seed, seconds=600.0)
        alarms += any(each["accuracy"].breached for each in told)
    assert alarms <= 1


def test_rows_that_come_five_times_are_no_loss():
    rng = np.random.default_rng(1)
    monitor = classes(accuracy=0.77)
    told = []
    for number in range(300):
        right = np.repeat(rng.random(40) < 0.8, 5)
        told += monitor.update(rows(right, number * HOUR, number * 200), now=0)
    accuracy = [each for each in told if each.metric == "accuracy"]
    assert not any(each.breached for each in accuracy)
    assert 3 < accuracy[-1].detail["factor"] < 9


def test_errors_are_judged_from_above_and_r2_from_below():
    rng = np.random.default_rng(0)
    monitor = errors(100, mae=0.5, r2=0.9)
    for number in range(10):
        truth = rng.normal(size=100)
        made = [JoinedRow(float(y + rng.normal()), float(y), {}, number * 100 + at)
                for at, y in enumerate(truth)]  # fmt: skip
        found = {f.metric: f for f in monitor.update(joined_rows(made, number * HOUR), now=0)}
    assert (found["mae"].breached, found["mae"].direction) == (True, "above")
    assert (found["r2"].breached, found["r2"].direction) == (True, "below")
    assert (found["rmse"].breached, found["rmse"].reason) == (None, "no threshold set")


def test_what_cannot_be_measured_says_why_and_has_no_verdict():
    monitor = classes(20, scored=True, accuracy=0.5, auroc=0.7)
    nan = [float("nan")] * 2
    found = {f.metric: f for f in monitor.update(rows([True] * 20, 1.0, scores=nan), now=0)}
    assert found["auroc"].breached is None
    assert found["auroc"].reason == "no row has a score for each class that is a number"
    assert found["accuracy"].breached is False
    alike = {f.metric: f for f in monitor.update(rows([True] * 20, 2.0, 20, [0.5, 0.5]), now=0)}
    assert alike["auroc"].value == 0.5
    assert alike["auroc"].detail["note"] == "all scores are alike"
    json.dumps(monitor.state(), allow_nan=False)


def test_answers_that_are_no_numbers_are_in_no_mean():
    monitor = errors(mae=1.0)
    nothing = [JoinedRow(None, 5.0, {}, at) for at in range(15)]
    found = monitor.update(joined_rows(nothing, 1.0), now=0)
    assert {(f.n_current, f.breached) for f in found} == {(0, None)}
    assert found[0].reason == "too few answers of the window were numbers"
    right = [JoinedRow(0.0, 2.0, {}, 15 + at) for at in range(5)]
    mae = monitor.update(joined_rows(right, 1.0), now=0)[0]
    assert (mae.n_current, mae.value, mae.breached) == (5, 2, True)


def corrected(*moved):
    made = [CorrectedRow(predicted, old, new, position=at) for at, predicted, old, new in moved]
    return corrections(made, 9.0)


def test_corrections_count_in_the_window_that_their_row_is_in():
    monitor = classes(10, accuracy=0.95)
    assert monitor.revise(corrected((0, 1, 1, 0)), now=0) == []
    monitor.update(rows([True] * 34, 1.0), now=1)
    before = monitor.state()["findings"][0]
    # Two in the latest window, one of them twice; one in the open window; one in an older one.
    found = monitor.revise(
        corrected((20, 0, 0, 1), (29, 1, 1, 0), (29, 1, 0, 0), (31, 1, 1, 0), (3, 1, 1, 0)), now=3
    )
    accuracy = found[0]
    assert (accuracy.value, accuracy.revised) == (0.8, 2)
    assert accuracy.window_id == before["window_id"]
    assert accuracy.detail["lookback_value"] == pytest.approx(27 / 30)
    (again, *_) = monitor.revise(corrected((29, 1, 0, 1)), now=3)
    assert (again.value, again.revised) == (0.9, 3)
    (last, *_) = monitor.update(rows([True] * 6, 4.0, 34), now=4)
    assert (last.value, last.revised) == (0.9, 0)
    assert monitor.revise(corrected((35, 1, 1, 1)), now=5) == []


def test_a_correction_may_turn_the_verdict_of_a_lookback():
    monitor = classes(100, accuracy=0.9)
    told = [monitor.update(rows([True] * 100, at * HOUR, at * 100), now=0) for at in range(4)]
    assert told[-1][0].breached is False
    wrong = [(at, at % 2, at % 2, 1 - at % 2) for at in range(300, 390)]
    (accuracy, *_) = monitor.revise(corrected(*wrong), now=0)
    assert (accuracy.breached, accuracy.value, accuracy.revised) == (True, 0.1, 90)


def test_corrections_give_what_the_last_labels_alone_give():
    rng = np.random.default_rng(2)
    monitor, plain = errors(mae=0.5), errors(mae=0.5)
    final = rng.exponential(size=45)
    first = final.copy()
    wrong = rng.permutation(45)[:20]
    first[wrong] += rng.normal(size=20)

    def given(truths):
        return joined_rows([JoinedRow(0.0, y, {}, at) for at, y in enumerate(truths.tolist())], 1.0)

    monitor.update(given(first), now=0)
    for at in wrong.tolist():
        monitor.revise(corrected((at, 0.0, first[at], 7.0), (at, 0.0, 7.0, final[at])), now=0)
    expected = {f.metric: f for f in plain.update(given(final), now=0)[-3:]}
    # Something that changes nothing, so that it is judged once more.
    monitor.revise(corrected((35, 0.0, final[35], 8.0)), now=0)
    found = {f.metric: f for f in monitor.revise(corrected((35, 0.0, 8.0, final[35])), now=0)}
    for name, finding in found.items():
        assert finding.value == pytest.approx(expected[name].value, rel=1e-9)
        assert finding.n_current == 10


def test_goes_on_after_a_restart():
    monitor, other = classes(accuracy=0.85), classes(accuracy=0.85)
    stream(monitor, 0.9, 30)
    monitor.update(rows([True] * 50, 30 * HOUR, 6000), now=0)
    kept = other.restore(json.loads(json.dumps(monitor.state(), allow_nan=False)))
    assert [each.metric for each in kept] == ["accuracy", "balanced_accuracy", "f1"]
    given = corrected((5999, 1, 1, 0), (100, 0, 0, 1), (6001, 1, 1, 0))
    assert monitor.revise(given, now=1) == other.revise(given, now=1) != []
    mine, theirs = (stream(each, 0.6, 2, seed=3, start=31) for each in (monitor, other))
    assert mine == theirs
    assert monitor.state() == other.state()


def test_findings_by_another_threshold_do_not_outlive_a_restart():
    monitor = classes(10, accuracy=0.5)
    monitor.update(rows([False] * 13, 0.0), now=0)
    other = classes(10, accuracy=0.9)
    assert other.restore(json.loads(json.dumps(monitor.state()))) == []
    assert other.filled == (3, 10)
    with pytest.raises(ValueError, match="other labels or classes"):
        errors().restore(monitor.state())


def test_a_threshold_of_what_is_not_measured_is_refused():
    with pytest.raises(ValueError, match="threshold of mae; measured are accuracy, balanced"):
        classes(mae=1.0)
