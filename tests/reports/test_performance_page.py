from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from serving.config.performance_thresholds import thresholds
from serving.reports.performance import performance
from serving.reports.performance_page import headline, performance_page


@pytest.fixture
def found(rows, config):
    limits = thresholds(config.monitors.performance, config.label_kind)
    return performance(rows, config, limits, "1")


def test_metrics_with_a_threshold_come_first(found):
    made = performance_page("Performance of m", "Rows.", ["a < b"], found)
    titles = [part.split("</h3>")[0] for part in made.split("<h3>")[1:]]
    assert titles[:2] == ["accuracy", "log_loss"]
    assert "<li>a &lt; b</li>" in made
    assert "recall" in made


def test_a_class_that_nobody_is_has_no_recall(rows, config):
    labels = np.zeros_like(rows.labels)
    made = performance_page("m", "", [], performance(replace(rows, labels=labels), config, {}, "1"))
    assert made.split("Confusion matrix")[1].split("</table>")[0].count("<td>-</td>") == 1


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({}, "No threshold is set, so that there is no verdict."),
        ({"accuracy": 0.1}, "All thresholds are kept."),
        ({"accuracy": 0.99}, "Beyond its threshold: accuracy."),
        ({"accuracy": 0.99, "auroc": 0.1}, "Beyond its threshold: accuracy."),
    ],
)
def test_the_headline_says_the_worst(rows, config, limits, said):
    found = headline(performance(rows, config, limits, "1"))
    assert found.endswith(said)
    assert found.startswith(f"{len(rows.labels)} of {rows.rows} rows have a label")
