"""Which thresholds of performance a model may have: those of metrics that its labels allow."""

from __future__ import annotations

from collections.abc import Mapping

from serving.config.monitoring import OF_SCORES, PERFORMANCE_METRICS, PerformanceMonitor
from serving.config.tensor_specs import OutputSpec


def judged_metric(performance: PerformanceMonitor, kind: str | None) -> str:
    """Return the metric that `min` or `max` is for.

    Args:
        performance: the section of the configuration.
        kind: of the model's labels.
    """
    if performance.metric != "auto":
        return performance.metric
    return "mae" if kind == "numbers" else "accuracy"


def thresholds(performance: PerformanceMonitor, kind: str | None) -> Mapping[str, float]:
    """Return all thresholds by metric, that of `min` or `max` included."""
    named = performance.thresholds.model_dump(exclude_none=True)
    limit = performance.max if kind == "numbers" else performance.min
    return named if limit is None else {judged_metric(performance, kind): limit, **named}


def check_thresholds(performance: PerformanceMonitor, kind: str | None, output: OutputSpec) -> None:
    """Check that what is judged is measured.

    Raises:
        ValueError: a threshold is of a metric that the model's labels do not give, or it is
            declared twice; the message says what to change.
    """
    declared = thresholds(performance, kind)
    named = performance.thresholds.model_dump(exclude_none=True)
    judged = judged_metric(performance, kind)
    if judged in named and (performance.min is not None or performance.max is not None):
        limit = "max" if kind == "numbers" else "min"
        raise ValueError(
            f"monitors.performance.thresholds.{judged}: is what `{limit}` says too; take one of "
            f"them out"
        )
    for name in named:
        _check_metric(f"thresholds.{name}", name, performance, kind, output)
    for name in performance.learn:
        _check_metric("learn", name, performance, kind, output)
        if name in declared:
            raise ValueError(
                f"monitors.performance.learn: {name} has a threshold that is declared; take one of "
                f"them out"
            )
    if performance.quantile is not None and kind != "numbers":
        raise ValueError(
            f"monitors.performance.quantile: output '{output.name}' answers no numbers; take it out"
        )


def _check_metric(
    key: str, name: str, performance: PerformanceMonitor, kind: str | None, output: OutputSpec
) -> None:
    measured = PERFORMANCE_METRICS.get(kind or "", ())
    if name not in measured:
        raise ValueError(
            f"monitors.performance.{key}: {name} is not measured of output '{output.name}'; it has "
            f"{', '.join(measured) or 'no labels'}"
        )
    if name in OF_SCORES and not scored(output):
        raise ValueError(
            f"monitors.performance.{key}: {name} needs a score for each class, and output "
            f"'{output.name}' is {output.datatype} {output.shape}; take it out"
        )
    if name == "quantile_loss" and performance.quantile is None:
        raise ValueError(
            f"monitors.performance.{key}: {name} needs `monitors.performance.quantile`, the "
            f"quantile that the model answers"
        )


def scored(output: OutputSpec) -> bool:
    """Whether an output of classes has a score for each."""
    return len(output.shape) == 2 and output.datatype.startswith("FP")
