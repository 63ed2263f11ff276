"""The figures are fairlearn's, every pair has its own verdict, and what is unknown says why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fairlearn.metrics import (
    demographic_parity_difference,
    equal_opportunity_ratio,
    equalized_odds_difference,
    equalized_odds_ratio,
)

from serving.config import ModelConfig
from serving.reports.fairness import SUPPRESSED, fairness
from serving.reports.metric_frame import metric_frame


def by_metric(found, attribute="sex"):
    return {each.metric: each for each in found.disparities if each.attribute == attribute}


def changed(config, **tolerance):
    raw = config.model_dump()
    raw["fairness"]["tolerance"] = tolerance
    return ModelConfig.model_validate(raw)


def test_figures_are_those_of_fairlearn(rows, config):
    found = by_metric(fairness(rows, config))
    known = rows.labelled
    truth, answers, groups = rows.labels, rows.predicted[known], rows.groups["sex"][known]
    args = {"y_true": truth, "y_pred": answers, "sensitive_features": groups}
    for metric, of in (
        ("equal_opportunity_ratio", equal_opportunity_ratio),
        ("equalized_odds_difference", equalized_odds_difference),
        ("equalized_odds_ratio", equalized_odds_ratio),
    ):
        assert found[metric].value == pytest.approx(of(**args), abs=1e-12)
    every = {"y_true": rows.predicted, "y_pred": rows.predicted}
    parity = demographic_parity_difference(**every, sensitive_features=rows.groups["sex"])
    assert found["demographic_parity_difference"].value == pytest.approx(parity, abs=1e-12)
    frame = metric_frame(rows, config)["sex"]
    assert frame["true_positive_rate ratio"] == pytest.approx(
        found["equal_opportunity_ratio"].value, abs=1e-12
    )


def test_every_metric_is_there_as_difference_and_ratio(rows, config):
    names = set(by_metric(fairness(rows, config)))
    of_rates = {
        f"{name}_{kind}"
        for name in ("demographic_parity", "equal_opportunity", "equalized_odds",
                     "predictive_parity", "false_discovery_rate", "false_omission_rate", "accuracy")
        for kind in ("difference", "ratio")
    }  # fmt: skip
    assert names == of_rates | {"calibration_difference"}


def test_verdicts_are_of_the_interval(rows, config):
    tolerance = {
        "demographic_parity_difference": 0.1, "equal_opportunity_difference": 0.15,
        "accuracy_difference": 0.2, "demographic_parity_ratio": 0.4,
    }  # fmt: skip
    found = by_metric(fairness(rows, changed(config, **tolerance)))
    verdicts = {metric: found[metric].verdict for metric in tolerance}
    assert verdicts == {
        "demographic_parity_difference": "beyond",
        "equal_opportunity_difference": "unknown",
        "accuracy_difference": "within",
        "demographic_parity_ratio": "within",
    }
    assert "lies in the interval" in found["equal_opportunity_difference"].reason
    assert found["accuracy_ratio"].reason == "no tolerance is set"


def test_a_group_with_too_few_rows_has_no_verdict(rows, config):
    few = rows.groups["sex"].copy()
    few[60:] = np.where(few[60:] == "F", None, few[60:])
    found = by_metric(fairness(replace(rows, groups={"sex": few}), config))
    one = found["demographic_parity_difference"]
    assert (one.verdict, one.reason) == ("unknown", "a group has fewer than 100 rows")
    assert found["equal_opportunity_difference"].reason == SUPPRESSED
    assert found["equal_opportunity_difference"].value is None


def test_one_group_is_nothing_to_compare_and_not_fine(rows, config):
    found = fairness(replace(rows, groups={"sex": np.full(rows.rows, "F", object)}), config)
    assert found.disparities == ()
    [note] = found.notes
    assert note.startswith("sex: there is nothing to compare, fewer than two groups can be shown")


def test_scores_that_are_wrong_for_one_group_are_a_gap_of_calibration(rows, config):
    scores = rows.scores.astype(float)
    women = rows.groups["sex"] == "F"
    scores[women, 1] = np.clip(scores[women, 1] + 0.3, 0, 1)
    scores[:, 0] = 1 - scores[:, 1]
    fair = by_metric(fairness(rows, config))["calibration_difference"]
    bad = by_metric(fairness(replace(rows, scores=scores), config))["calibration_difference"]
    assert fair.low <= 0.0 < fair.high
    assert 0.15 < bad.low < 0.3
    assert (bad.first, bad.second) == ("M", "F")


def test_without_labels_only_what_needs_none_is_known(rows, config):
    blind = replace(rows, labelled=np.zeros(rows.rows, bool), labels=np.zeros(0, int))
    found = fairness(blind, config)
    metrics = by_metric(found)
    assert metrics["demographic_parity_difference"].verdict == "beyond"
    assert metrics["equal_opportunity_difference"].verdict == "unknown"
    assert metric_frame(blind, config) == {}
    assert any("calibration by group is not known" in note for note in found.notes)


@pytest.fixture
def numbers(config):
    raw = config.model_dump(exclude={"fairness", "monitors"})
    raw["outputs"] = [{"name": "p", "datatype": "FP32", "shape": [-1]}]
    raw["fairness"] = {
        "sensitive": ["sex"],
        "tolerance": {"mae_difference": 0.2, "mae_ratio": 0.9, "mean_error_difference": 0.05},
    }
    return ModelConfig.model_validate(raw)


def test_errors_of_numbers_have_their_own_verdicts(rows, numbers):
    truth = np.random.default_rng(5).normal(size=rows.rows)
    women = rows.groups["sex"] == "F"
    answers = truth + np.where(women, 0.4, -0.3)
    some = replace(rows, predicted=answers, scores=None, labels=truth[rows.labelled])
    found = by_metric(fairness(some, numbers))
    assert {name: each.verdict for name, each in found.items()} == {
        "mae_difference": "within", "mae_ratio": "beyond", "mean_error_difference": "beyond",
    }  # fmt: skip
    assert found["mae_difference"].value == pytest.approx(0.1)
    assert found["mae_ratio"].value == pytest.approx(0.75)
    assert found["mean_error_difference"].value == pytest.approx(0.7)
    assert (found["mean_error_difference"].first, found["mean_error_difference"].second) == (
        "F",
        "M",
    )


def test_calibration_is_judged_where_somebody_says_what_is_tolerated(rows, config):
    scores = np.full((rows.rows, 2), 0.5)
    wanted = changed(config, calibration_difference=0.01)
    found = by_metric(fairness(replace(rows, scores=scores), wanted))["calibration_difference"]
    assert (found.tolerated, found.verdict) == (0.01, "beyond")


def test_with_the_largest_group_all_others_are_compared(rows, numbers):
    group = np.where(np.arange(rows.rows) % 4 == 0, "b", np.where(rows.times % 120, "c", "a"))
    raw = numbers.model_dump()
    raw["fairness"]["reference"] = "largest"
    some = replace(
        rows, predicted=rows.predicted * 1.0, scores=None, groups={"sex": group.astype(object)}
    )
    pairs = {
        frozenset((each.first, each.second))
        for each in fairness(some, ModelConfig.model_validate(raw)).disparities
    }
    assert pairs == {frozenset("cb"), frozenset("ca")}
