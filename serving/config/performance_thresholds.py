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
    named = performance.thresholds.model_dump(exclude_none=True)
    limit = "max" if kind == "numbers" else "min"
    judged = judged_metric(performance, kind)
    if judged in named and getattr(performance, limit) is not None:
        raise ValueError(
            f"monitors.performance.thresholds.{judged}: is what `{limit}` says too; take one of "
            f"them out"
        )
    measured = PERFORMANCE_METRICS.get(kind or "", ())
    for name in named:
        if name not in measured:
            raise ValueError(
                f"monitors.performance.thresholds.{name}: is not measured of output "
                f"'{output.name}'; it has {', '.join(measured) or 'no labels'}"
            )
        if name in OF_SCORES and not scored(output):
            raise ValueError(
                f"monitors.performance.thresholds.{name}: needs a score for each class, and "
                f"output '{output.name}' is {output.datatype} {output.shape}; take it out"
            )
    if "quantile_loss" in named and performance.quantile is None:
        raise ValueError(
            "monitors.performance.thresholds.quantile_loss: needs "
            "`monitors.performance.quantile`, the quantile that the model answers"
        )
    if performance.quantile is not None and kind != "numbers":
        raise ValueError(
            f"monitors.performance.quantile: output '{output.name}' answers no numbers; take it out"
        )


def scored(output: OutputSpec) -> bool:
    """Whether an output of classes has a score for each."""
    return len(output.shape) == 2 and output.datatype.startswith("FP")
