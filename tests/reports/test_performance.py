from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, mean_absolute_error

from serving.config import ModelConfig
from serving.config.performance_thresholds import thresholds
from serving.reports.performance import performance, verdict_of


@pytest.fixture
def limits(config):
    return thresholds(config.monitors.performance, config.label_kind)


def overall(found):
    return {each.metric: each for each in found.overall}


def test_metrics_are_those_of_scikit_learn(rows, config):
    found = performance(rows, config, {}, "1")
    answers, scores = rows.predicted[rows.labelled], rows.scores[rows.labelled]
    measured = overall(found)
    assert measured["accuracy"].value == pytest.approx(accuracy_score(rows.labels, answers))
    loss = log_loss(rows.labels, scores / scores.sum(axis=1, keepdims=True))
    assert measured["log_loss"].value == pytest.approx(loss, abs=1e-6)
    assert np.array(found.confusion).tolist() == confusion_matrix(rows.labels, answers).tolist()
    assert (found.rows, found.labelled) == (rows.rows, len(rows.labels))


def test_points_over_time_are_of_all_labelled_rows(rows, config, limits):
    found = performance(rows, config, limits, "1")
    [figure] = [each for each in found.over_time if each.metric == "accuracy"]
    right = rows.predicted[rows.labelled] == rows.labels
    runs = np.array_split(right, len(figure.points))
    assert [each.value for each in figure.points] == pytest.approx([r.mean() for r in runs])
    assert all(each.low < each.value < each.high for each in figure.points)
    assert figure.threshold == 0.7


def test_a_fall_of_accuracy_is_seen_where_it_is(rows, config, limits):
    predicted = rows.predicted.copy()
    predicted[3000:] = 1 - predicted[3000:]
    found = performance(replace(rows, predicted=predicted), config, limits, "1")
    [figure] = [each for each in found.over_time if each.metric == "accuracy"]
    off = [each.time for each in figure.points if each.breached]
    assert off
    assert min(off) >= rows.times[2900]
    assert figure.breaches == len(off)


def test_categories_have_figures_of_their_own_and_small_ones_none(rows, config):
    found = {each.part: each for each in performance(rows, config, {}, "1").parts}
    here = rows.columns["purpose"] == b"car"
    right = (rows.predicted[rows.labelled] == rows.labels)[here[rows.labelled]]
    assert found["purpose = car"].value == pytest.approx(right.mean())
    boat = found["purpose = boat"]
    assert (boat.value, boat.verdict) == (None, "unknown")
    assert boat.reason == "fewer than 20 labelled rows"


def test_only_metrics_with_a_threshold_have_a_verdict(rows, config):
    found = overall(performance(rows, config, {"auroc": 0.6}, "1"))
    assert (found["auroc"].threshold, found["auroc"].verdict) == (0.6, "within")
    assert (found["accuracy"].threshold, found["accuracy"].verdict) == (None, "unknown")
    assert found["accuracy"].reason == "no threshold is set"


@pytest.mark.parametrize(
    ("low", "high", "threshold", "direction", "verdict"),
    [
        (0.5, 0.6, 0.7, "below", "beyond"),
        (0.7, 0.8, 0.7, "below", "within"),
        (0.6, 0.8, 0.7, "below", "unknown"),
        (0.8, 0.9, 0.7, "above", "beyond"),
        (0.5, 0.7, 0.7, "above", "within"),
        (0.6, 0.8, 0.7, "above", "unknown"),
        (None, None, 0.7, "above", "unknown"),
        (0.5, 0.6, None, "above", "unknown"),
    ],
)
def test_a_verdict_needs_the_whole_interval(low, high, threshold, direction, verdict):
    found, reason = verdict_of(low, high, threshold, direction)
    assert found == verdict
    assert bool(reason) == (verdict == "unknown")


def test_numbers_have_errors_in_place_of_classes(rows, config):
    raw = config.model_dump(exclude={"fairness", "monitors"})
    raw["outputs"] = [{"name": "p", "datatype": "FP32", "shape": [-1]}]
    raw["monitors"] = {"performance": {"max": 0.5}}
    numbers = ModelConfig.model_validate(raw)
    rng = np.random.default_rng(3)
    truth = rng.normal(size=rows.rows)
    answers = truth + rng.normal(0.2, 0.1, rows.rows)
    some = replace(rows, predicted=answers, scores=None, labels=truth[rows.labelled])
    limits = thresholds(numbers.monitors.performance, numbers.label_kind)
    found = performance(some, numbers, limits, "1")
    mae = mean_absolute_error(some.labels, answers[rows.labelled])
    assert overall(found)["mae"].value == pytest.approx(mae)
    assert overall(found)["mae"].verdict == "within"
    assert sum(found.residuals.counts) == len(some.labels)
    assert len(found.calibration) == 10
    assert found.confusion == ()
