"""What judges and explains a model: monitors, fairness, explanations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from serving.config.explainers.listed import AUTO, MOST_SAMPLES, MOST_STEPS, method_names
from serving.config.incidents import Incidents
from serving.config.one_of import OneOf
from serving.config.section import Section
from serving.config.slices import MOST_SLICES


class DriftMonitor(Section):
    """Whether inputs and answers are distributed as before: each column, and pairs of them."""

    reference: Literal["profile", "live", "previous"] = Field(
        "profile",
        description="What windows are compared with: the version's profile, the first rows that "
        "it answers, or the `reference_rows` before.",
    )
    reference_rows: int = Field(
        1000,
        ge=100,
        le=100_000,
        description="Rows of a `live` or `previous` reference; more see smaller drifts.",
    )
    window: int = Field(1000, ge=50, description="Rows per window.")
    window_s: float = Field(
        3600,
        gt=0,
        description="Seconds after which a window ends with fewer rows, but at least 50.",
    )
    min_psi: float = Field(
        0,
        ge=0,
        description="An alarm of a column needs an effect of at least this PSI as well, less what "
        "chance adds to it. 0: the law of alarms decides alone.",
    )

    @model_validator(mode="before")
    @classmethod
    def _no_rate_per_window(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and "false_alarm_rate" in raw:
            raise ValueError(
                "false_alarm_rate, which was per window, has been replaced: remove it, and set "
                "monitors.false_pages_per_quarter if one false page in 90 days is not what you want"
            )
        return raw


class QualityMonitor(Section):
    """Whether inputs are complete, of the right type and in range, and answers are not constant."""

    window: int = Field(1000, ge=50, description="Rows per window.")
    window_s: float = Field(
        3600,
        gt=0,
        description="Seconds after which a window ends with fewer rows, but at least 50.",
    )


class GuardRateMonitor(Section):
    """Whether guards flag as many rows as they are stated to."""

    window: int = Field(1000, ge=100, description="Rows per window.")


def _at_least(what: str) -> Any:
    return Field(None, gt=0, le=1, description=f"Smallest {what}; none: without a verdict.")


def _at_most(what: str, most: float | None = None) -> Any:
    return Field(None, gt=0, le=most, description=f"Largest {what}; none: without a verdict.")


class Thresholds(Section):
    """From which value on a model is not good enough, by the names of scikit-learn.

    Those of classes are first, then those of numbers, then those of rankings.
    """

    accuracy: float | None = _at_least("share of rows that are right")
    balanced_accuracy: float | None = _at_least("mean of the classes' recalls")
    f1: float | None = _at_least(
        "F1 of the favourable or else the last of two classes, of more the mean over classes"
    )
    auroc: float | None = _at_least(
        "area under the ROC curve of that class, of more classes the mean, one against the rest"
    )
    auprc: float | None = _at_least("average precision, of the same classes")
    log_loss: float | None = _at_most("mean log loss of the classes' probabilities")
    brier: float | None = _at_most("Brier score, of two classes half the sum over classes", 2)
    calibration_error: float | None = _at_most(
        "expected calibration error of the predicted class, over 10 bins of equal width", 1
    )
    mae: float | None = _at_most("mean absolute error")
    rmse: float | None = _at_most("root mean squared error")
    quantile_loss: float | None = _at_most("mean loss of `quantile`")
    r2: float | None = Field(
        None, le=1, description="Smallest coefficient of determination; none: without a verdict."
    )
    mrr: float | None = _at_least("mean reciprocal rank of the first relevant item")
    ndcg: float | None = _at_least("NDCG of the first 10 items")


Metric = Literal[
    "accuracy", "balanced_accuracy", "f1", "auroc", "auprc", "log_loss", "brier",
    "calibration_error", "mae", "rmse", "quantile_loss", "r2", "mrr", "ndcg",
]  # fmt: skip
"""All that can be measured of labelled rows."""
PERFORMANCE_METRICS: Final[Mapping[str, tuple[str, ...]]] = {
    "classes": (
        "accuracy", "balanced_accuracy", "f1", "auroc", "auprc", "log_loss", "brier",
        "calibration_error",
    ),
    "numbers": ("mae", "rmse", "quantile_loss", "r2"),
    "ranking": ("mrr", "ndcg"),
}  # fmt: skip
"""What is measured by kind of label."""
OF_SCORES: Final = ("auroc", "auprc", "log_loss", "brier", "calibration_error")
"""Those that need a score for each class."""


class PerformanceMonitor(Section):
    """How good answers are, on the rows whose labels clients push, over windows of 200 of them."""

    metric: Literal["auto", "accuracy", "mae", "rmse", "mrr", "ndcg"] = Field(
        "auto",
        description="What `min` or `max` is for, and what labels are. `auto`: `accuracy` of a "
        "classifier, `mae` of a model that answers one number a row. `mae` and `rmse` take labels "
        "that are numbers, or lists of them; `mrr` and `ndcg` (of the first 10) lists of "
        "relevances, or the index of the item that was chosen.",
    )
    min: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Below it the model is not good enough; none: measured, without a verdict. "
        "Not of `mae` and `rmse`.",
    )
    max: float | None = Field(
        None,
        gt=0,
        description="Of `mae` and `rmse`: above it the model is not good enough; none: measured, "
        "without a verdict.",
    )
    thresholds: Thresholds = Field(
        default_factory=Thresholds,
        description="Of any metric of the model's kind of labels; see docs/labels.md.",
    )
    learn: list[Metric] = Field(
        default_factory=list,
        description="Metrics whose threshold is learnt from the profile: the worst value that its "
        "held-out rows with labels do not rule out (`vigil profile --label`).",
    )
    quantile: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Which quantile a model of numbers answers, for `quantile_loss`; none: it is "
        "not measured.",
    )


class EstimationMonitor(Section):
    """How good answers probably are where no labels have come, from the profile's labelled rows."""

    window: int = Field(
        1000,
        ge=25,
        le=10_000,
        description="Most rows per window. It has a twentieth of the profile's labelled held-out "
        "rows, if that is less; `vigil profile` learns how far off estimates of as many are.",
    )
    every_s: float = Field(
        60,
        ge=0,
        description="Seconds from the beginning of a window to that of the next one at least; "
        "rows in between are not looked at.",
    )


class Monitors(Section):
    """Which windowed judges run for the model."""

    drift: DriftMonitor | None = Field(default_factory=DriftMonitor)
    quality: QualityMonitor | None = Field(
        default_factory=QualityMonitor,
        description="Of inputs it needs `monitors.drift`, whose columns and reference it shares.",
    )
    performance: PerformanceMonitor | None = Field(default_factory=PerformanceMonitor)
    estimation: EstimationMonitor | None = Field(
        default_factory=EstimationMonitor,
        description="Needs `monitors.performance`, whose thresholds it shares.",
    )
    guard_rate: GuardRateMonitor | None = Field(
        default_factory=GuardRateMonitor,
        description="It runs where the rate of a guard is stated.",
    )
    slices: list[str] = Field(
        default_factory=list,
        max_length=MOST_SLICES,
        description="Conditions on columns of the inputs, such as `age > 60 and home = 'rent'`: "
        "drift, quality of inputs, performance and fairness are judged of these rows as well, and "
        "share what may be spent on false alarms.",
    )
    false_pages_per_quarter: float = Field(
        1,
        gt=0,
        le=1000,
        description="False pages that are expected in 90 days, of performance; three times as many "
        "false tickets are, of fairness, of data quality, of guards and of estimated performance "
        "each, and twelve times as many false infos, of drift. Fewer need more rows for each "
        "verdict.",
    )
    stale_after_s: float = Field(
        3600,
        gt=0,
        description="A finding is unknown once its monitor has had no rows (performance: no "
        "labels) for so long, until the next window is full.",
    )
    incidents: Incidents = Field(default_factory=Incidents)


def _difference(of_what: str, default: float | None = None) -> Any:
    told = f"Largest between the groups' {of_what}; none: measured, without a verdict."
    return Field(default, ge=0, le=1, description=told)


def _ratio(of_what: str) -> Any:
    told = f"Smallest of the groups' {of_what}, lowest to highest; none: without a verdict."
    return Field(None, gt=0, le=1, description=told)


def _of_numbers(of_what: str, unit: str) -> Any:
    told = f"Largest between the groups' {of_what}, {unit}; of models of numbers."
    return Field(None, ge=0, description=told)


class Tolerance(Section):
    """The disparities that are acceptable, by the names of fairlearn."""

    demographic_parity_difference: float | None = _difference("shares of favourable outcomes", 0.1)
    demographic_parity_ratio: float | None = _ratio("shares of favourable outcomes")
    equal_opportunity_difference: float | None = _difference("true positive rates")
    equal_opportunity_ratio: float | None = _ratio("true positive rates")
    equalized_odds_difference: float | None = _difference("true and false positive rates")
    equalized_odds_ratio: float | None = _ratio("true and false positive rates")
    predictive_parity_difference: float | None = _difference("precisions")
    predictive_parity_ratio: float | None = _ratio("precisions")
    false_discovery_rate_difference: float | None = _difference("false discovery rates")
    false_discovery_rate_ratio: float | None = _ratio("false discovery rates")
    false_omission_rate_difference: float | None = _difference("false omission rates")
    false_omission_rate_ratio: float | None = _ratio("false omission rates")
    accuracy_difference: float | None = _difference("accuracies")
    accuracy_ratio: float | None = _ratio("accuracies")
    calibration_difference: float | None = _difference(
        "means of what is true, 1 or 0, minus its probability"
    )
    mae_difference: float | None = _of_numbers("mean absolute errors", "in the model's unit")
    mae_ratio: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Smallest of the groups' mean absolute errors, lowest to highest; of models of "
        "numbers.",
    )
    mean_error_difference: float | None = _of_numbers(
        "means of answer minus truth", "in the model's unit"
    )

    @property
    def of_numbers(self) -> list[str]:
        """Names of what is tolerated of models of numbers."""
        given = self.model_dump(exclude_none=True)
        return [name for name in given if name.startswith(("mae_", "mean_error_"))]

    @property
    def of_classes(self) -> list[str]:
        """Names of what somebody tolerates of models of classes; the default is nobody's wish."""
        default = Tolerance().model_dump(exclude_none=True)
        given = self.model_dump(exclude_none=True)
        chosen = [name for name, most in given.items() if default.get(name) != most]
        return [name for name in chosen if name not in self.of_numbers]


class Fairness(Section):
    """Sensitive attributes and what counts as a favourable outcome."""

    sensitive: list[str] = Field(min_length=1, description="Names of sensitive attributes.")
    favorable: str | None = Field(
        None,
        description="The class whose selection is favourable; required, but for models of numbers, "
        "which have none.",
    )
    tolerance: Tolerance = Field(default_factory=Tolerance)
    window: int = Field(
        1000,
        ge=100,
        description="Rows between two looks, of predictions and of labelled rows each. A look "
        "judges what was counted over up to 256 windows.",
    )
    reference: Literal["each", "largest", "best"] = Field(
        "each",
        description="With whom a group is compared: each other group, the largest one, or the one "
        "with the best rate.",
    )
    min_rows: int = Field(100, ge=20, description="Rows that a group needs for a verdict.")


class Explain(Section):
    """Explanations."""

    method: Annotated[str, OneOf(method_names)] = Field(
        AUTO,
        description=f"`{AUTO}`: the first of the others that the model allows; those by gradients "
        "need a model that is differentiable in its inputs.",
    )
    n_steps: int = Field(
        32, ge=1, le=MOST_STEPS, description="Steps of `integrated_gradients` to begin with."
    )
    n_samples: int = Field(
        2048,
        ge=2,
        le=MOST_SAMPLES,
        description="Most evaluations of the model per row in `kernel_shap`.",
    )
    max_seconds: float = Field(
        60,
        gt=0,
        description="Time for an explanation, waiting for others included; then the request is "
        "answered 504. A request may ask for less (`timeout`, gRPC's deadline).",
    )
    max_completeness_error: float = Field(
        0.05, gt=0, description="Relative error above which no attribution is returned."
    )
