"""Estimates by window, their trust by labels, and what they may raise when."""

import functools
import json
import math

import numpy as np
import pytest
from scipy.special import expit

from monitors.estimation.estimated_performance import (
    EstimatedPerformanceMonitor,
    EstimationSettings,
)
from monitors.estimation.fitted import fit_estimation
from monitors.estimation.predictions import Predictions
from monitors.rows import Rows

ROWS = 60


def drawn(n, seed, shift=0.0, flipped=0.0):
    """A classifier whose scores are true; `shift` makes rows hard, `flipped` turns labels."""
    rng = np.random.default_rng(seed)
    x = rng.normal(1.5 - shift, 1.0, n)
    x = np.where(rng.random(n) < 0.5, x, -x)
    score = expit(2 * x)
    truth = rng.random(n) < score
    truth ^= rng.random(n) < flipped
    return x, np.column_stack((1 - score, score)), truth.astype(np.int64)


@functools.cache
def fitted(columns=False):
    x, scores, labels = drawn(1200, seed=0)
    given = {"x": x} if columns else {}
    return fit_estimation(given, Predictions(features={}, scores=scores), labels, None, 1000)


def monitor(threshold=0.8, every_s=60.0, columns=False):
    limits = {} if threshold is None else {"accuracy": threshold}
    return EstimatedPerformanceMonitor(fitted(columns), EstimationSettings(limits, every_s, 3.0))


def predictions(scores, time):
    return Rows(
        n=len(scores), timestamp=time, scores=scores, predicted=scores.argmax(axis=1),
    )  # fmt: skip


def labelled(scores, labels, answered, came):
    n = len(scores)
    return Rows(
        n=n, timestamp=came, scores=scores, predicted=scores.argmax(axis=1), labels=labels,
        positions=np.arange(n), answered=np.full(n, answered),
    )  # fmt: skip


def window(judge, at, shift=0.0, flipped=0.0, labels=False):
    """One window, with labels or without; returns findings by metric."""
    _, scores, truth = drawn(ROWS, 1000 + at, shift, flipped)
    found = list(judge.update(predictions(scores, at * 60.0), 0.0))
    if labels:
        found += judge.update(labelled(scores, truth, at * 60.0, at * 60.0 + 1), 0.0)
    return {each.metric: each for each in found}


def test_a_window_has_estimates_with_bands_and_says_how():
    found = window(monitor(), 1)
    assert set(found) == {"accuracy", "balanced_accuracy", "auroc", "log_loss", "brier"}
    accuracy = found["accuracy"]
    assert accuracy.ci[0] < accuracy.value < accuracy.ci[1]
    assert (accuracy.breached, accuracy.severity) == (False, "info")
    assert accuracy.detail["method"] == "CBPE"
    assert accuracy.detail["trust"].startswith("not tested yet: labels of 0 of 5 chunks")
    assert (found["auroc"].breached, found["auroc"].reason) == (None, "no threshold set")
    assert found["log_loss"].direction == "above"


def test_rows_between_two_windows_are_not_looked_at():
    judge = monitor(every_s=60)
    _, scores, _ = drawn(ROWS, 1)
    assert judge.update(predictions(scores, 100.0), 0.0)
    assert judge.update(predictions(scores, 159.0), 0.0) == []
    assert judge.filled == (0, ROWS)
    assert judge.update(predictions(scores, 160.0), 0.0)


def test_hard_rows_are_estimated_to_be_wrong_and_raise_an_info_before_labels():
    judge = monitor(threshold=0.85)
    found = [window(judge, at, shift=1.2)["accuracy"] for at in range(30)]
    assert max(each.value for each in found) < 0.85
    assert found[0].breached is False
    assert found[-1].breached is True
    assert {each.severity for each in found} == {"info"}
    assert found[-1].since == 0.0


def test_with_labels_that_agree_an_alert_is_a_ticket_at_most():
    judge = monitor(threshold=0.85)
    for at in range(10):
        window(judge, at, labels=True)
    found = [window(judge, at, shift=1.0, labels=True) for at in range(10, 40)]
    last = found[-1]["accuracy"]
    assert (last.breached, last.severity) == (True, "ticket")
    assert last.detail["trust"].startswith("trusted")
    error = found[-1]["accuracy_estimation_error"]
    assert (error.breached, error.severity) == (False, "info")
    assert judge.of_labels(error)
    assert not judge.of_labels(last)


def test_a_concept_shift_takes_the_trust_and_with_it_the_verdict():
    judge = monitor()
    calm = [window(judge, at, labels=True)["accuracy_estimation_error"] for at in range(8)]
    shifted = [window(judge, at, flipped=0.4, shift=1.2, labels=True) for at in range(8, 40)]
    errors = [each["accuracy_estimation_error"].value for each in shifted]
    assert np.mean(errors) > 2 * np.mean([each.value for each in calm])
    last = shifted[-1]
    assert last["accuracy_estimation_error"].breached is True
    assert last["accuracy"].breached is None
    assert last["accuracy"].reason.startswith("the estimate is not trusted: ")
    assert not math.isnan(last["accuracy"].value)


def test_trust_that_is_lost_takes_the_latest_verdict_at_once():
    judge = monitor(threshold=0.85)
    for at in range(10):
        window(judge, at, labels=True)
    for at in range(10, 40):
        breached = window(judge, at, shift=1.0, labels=True)["accuracy"].breached
    assert breached is True
    _, scores, truth = drawn(ROWS * 10, 7)
    found = judge.update(labelled(scores, 1 - truth, 39 * 60.0, 1e6), 0.0)
    last = [each for each in found if each.metric == "accuracy"]
    assert [(each.breached, each.severity) for each in last] == [(None, "info")]
    assert last[0].reason.startswith("the estimate is not trusted")
    assert last[0] in judge.restore(json.loads(json.dumps(judge.state())))


def test_late_labels_are_compared_with_the_estimate_of_their_window():
    judge = monitor()
    hard = drawn(ROWS, 5, shift=1.2)
    judge.update(predictions(hard[1], 0.0), 0.0)
    estimate = judge.update(predictions(drawn(ROWS, 6)[1], 60.0), 0.0)[0]
    found = judge.update(labelled(hard[1], hard[2], 0.0, 1e6), 0.0)
    error = next(each for each in found if each.metric == "accuracy_estimation_error")
    assert error.detail["estimate"] < estimate.value - 0.05
    assert error.detail["realised"] == np.mean(hard[1].argmax(axis=1) == hard[2])
    assert error.value == abs(error.detail["estimate"] - error.detail["realised"])


def test_labels_of_rows_before_the_first_window_say_nothing():
    judge = monitor()
    _, scores, truth = drawn(ROWS, 1)
    assert judge.update(labelled(scores, truth, 0.0, 0.0), 0.0) == []


@pytest.mark.parametrize("broken", [ROWS, 20])
def test_scores_that_are_no_numbers_are_left_out_and_told(broken):
    _, scores, _ = drawn(ROWS, 1)
    scores[:broken] = np.nan
    accuracy = monitor().update(predictions(scores, 0.0), 0.0)[0]
    assert accuracy.detail["rows_left_out"] == broken
    assert math.isnan(accuracy.value) is (broken == ROWS)
    assert accuracy.breached is (None if broken == ROWS else False)
    assert bool(accuracy.reason) is (broken == ROWS)


def test_constant_scores_have_an_accuracy_and_no_ranking():
    scores = np.tile([0.1, 0.9], (ROWS, 1))
    found = {each.metric: each for each in monitor().update(predictions(scores, 0.0), 0.0)}
    assert 0.7 < found["accuracy"].value < 1
    assert found["auroc"].value == pytest.approx(0.5)


def test_a_kill_keeps_trust_evidence_and_findings():
    judge = monitor()
    for at in range(12):
        window(judge, at, labels=at < 6, shift=1.2 * (at > 6))
    again = monitor()
    saved = json.loads(json.dumps(judge.state(), allow_nan=False))
    assert {each.metric for each in again.restore(saved)} >= {
        "accuracy", "accuracy_estimation_error",
    }  # fmt: skip
    assert again.state() == judge.state()
    for at in range(12, 20):
        assert repr(window(again, at, 1.2)) == repr(window(judge, at, 1.2))


def test_with_another_threshold_what_was_judged_is_left_and_trust_stays():
    judge, again = monitor(), monitor(threshold=0.7)
    for at in range(12):
        window(judge, at, labels=True)
    assert again.restore(judge.state()) == []
    assert window(again, 12)["accuracy"].detail["trust"].startswith("trusted")


def test_inputs_are_looked_at_where_they_are_known():
    judge = monitor(columns=True)
    assert judge.needs.columns
    x, scores, _ = drawn(ROWS, 3)
    rows = Rows(
        n=ROWS, timestamp=0.0, columns={"x": x}, scores=scores, predicted=scores.argmax(axis=1)
    )
    accuracy = judge.update(rows, 0.0)[0]
    assert accuracy.detail["method"] in ("PAPE", "CBPE")
    assert 0.7 < accuracy.value < 1
