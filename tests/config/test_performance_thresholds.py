from typing import get_args

import pytest

from monitors.performance.metrics.class_counts import ClassCounts
from monitors.performance.metrics.class_metrics import class_metrics
from monitors.performance.metrics.number_metrics import NumberCounts
from monitors.performance.metrics.ranking_metrics import RankingCounts
from monitors.performance.metrics.score_metrics import score_metrics
from serving.config import ConfigError, ModelConfig
from serving.config.files import parse
from serving.config.monitoring import OF_SCORES, PERFORMANCE_METRICS, Metric, Thresholds
from serving.config.performance_thresholds import thresholds

X = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
SCORES = {"name": "y", "datatype": "FP32", "shape": [-1, 3], "classes": ["a", "b", "c"]}
INDICES = {"name": "y", "datatype": "INT64", "shape": [-1]}
NUMBER = {"name": "y", "datatype": "FP32", "shape": [-1]}


def config(output, performance):
    raw = {"format": "torch_export", "inputs": [X], "outputs": [output]}
    return parse(ModelConfig, {**raw, "monitors": {"performance": performance}}, "m")


def test_names_are_those_of_what_is_measured():
    counts, numbers = ClassCounts(2, 1, scored=True), NumberCounts(1, quantile=0.5)
    of_scores = score_metrics(counts)
    measured = {
        "classes": (*class_metrics(counts), *of_scores),
        "numbers": numbers.metrics,
        "ranking": RankingCounts().metrics,
    }
    named = {kind: [each.name for each in metrics] for kind, metrics in measured.items()}
    assert named == {kind: list(names) for kind, names in PERFORMANCE_METRICS.items()}
    assert [each.name for each in of_scores] == list(OF_SCORES)
    assert list(get_args(Metric)) == list(Thresholds.model_fields)
    assert list(Thresholds.model_fields) == [name for names in named.values() for name in names]


@pytest.mark.parametrize(
    ("output", "performance", "expected"),
    [
        (SCORES, {}, {}),
        (SCORES, {"min": 0.9}, {"accuracy": 0.9}),
        (SCORES, {"min": 0.9, "thresholds": {"auroc": 0.8}}, {"accuracy": 0.9, "auroc": 0.8}),
        (NUMBER, {"max": 2}, {"mae": 2.0}),
        (NUMBER, {"metric": "rmse", "max": 2, "thresholds": {"r2": -1}}, {"rmse": 2.0, "r2": -1.0}),
        (NUMBER, {"quantile": 0.9, "thresholds": {"quantile_loss": 3}}, {"quantile_loss": 3.0}),
        ({**X, "name": "y"}, {"metric": "ndcg", "min": 0.5}, {"ndcg": 0.5}),
    ],
)
def test_all_that_is_declared_is_a_threshold(output, performance, expected):
    model = config(output, performance)
    assert thresholds(model.monitors.performance, model.label_kind) == expected


@pytest.mark.parametrize(
    ("output", "performance", "said"),
    [
        (
            SCORES,
            {"min": 0.9, "thresholds": {"accuracy": 0.8}},
            "thresholds.accuracy: is what `min` says too; take one of them out",
        ),
        (
            SCORES,
            {"thresholds": {"mae": 1}},
            "thresholds.mae: mae is not measured of output 'y'; it has accuracy, balanced_accuracy",
        ),
        (
            INDICES,
            {"thresholds": {"auroc": 0.8}},
            r"thresholds.auroc: auroc needs a score for each class, and output 'y' is INT64 \[-1\]",
        ),
        (
            {**X, "name": "y", "datatype": "BYTES"},
            {"thresholds": {"accuracy": 0.8}},
            "thresholds.accuracy: accuracy is not measured of output 'y'; it has no labels",
        ),
        (
            NUMBER,
            {"thresholds": {"quantile_loss": 1}},
            "thresholds.quantile_loss: quantile_loss needs `monitors.performance.quantile`, the",
        ),
        (SCORES, {"learn": ["rmse"]}, "learn: rmse is not measured of output 'y'; it has accuracy"),
        (
            SCORES,
            {"learn": ["accuracy"], "min": 0.5},
            "learn: accuracy has a threshold that is declared; take one of them out",
        ),
        (SCORES, {"quantile": 0.5}, "quantile: output 'y' answers no numbers; take it out"),
        (SCORES, {"thresholds": {"f2": 0.5}}, "thresholds.f2"),
    ],
)
def test_what_is_judged_has_to_be_measured(output, performance, said):
    with pytest.raises(ConfigError, match=rf"monitors\.performance\.{said}"):
        config(output, performance)
