"""Metrics of what monitors find."""

from __future__ import annotations

from typing import Final

from serving.telemetry.metric import OF_FINDING, total, verdict

FINDING_VALUE: Final = verdict(
    "vigil.finding.value",
    "{value}",
    "Latest measured value, by monitor, metric and what it was measured on.",
    *OF_FINDING,
)
FINDING_BREACHED: Final = verdict(
    "vigil.finding.breached",
    "{boolean}",
    "1 while the value is on the bad side of its threshold, else 0.",
    *OF_FINDING,
)
FINDING_CI_LOWER: Final = verdict(
    "vigil.finding.ci.lower", "{value}", "Lower end of the value's interval.", *OF_FINDING
)
FINDING_CI_UPPER: Final = verdict(
    "vigil.finding.ci.upper", "{value}", "Upper end of the value's interval.", *OF_FINDING
)
FINDING_ROWS: Final = verdict(
    "vigil.finding.rows", "{row}", "Rows that the value was measured on.", *OF_FINDING
)
DRIFT_SCORE: Final = verdict("vigil.drift.score", "{score}", "Latest drift effect size.", "feature")
DRIFT_P_VALUE: Final = verdict(
    "vigil.drift.p_value", "{probability}", "Adjusted p-value of the latest drift test.", "feature"
)
DRIFT_ALARMS: Final = total("vigil.drift.alarms", "alarm", "Windows that raised drift.")
QUALITY_VIOLATIONS: Final = total(
    "vigil.quality.violations", "row", "Answered rows with NaN or infinity in an output.", "output"
)
PERFORMANCE_SCORE: Final = verdict(
    "vigil.performance.score", "{score}", "Latest score against labels, by metric.", "metric"
)
PERFORMANCE_OVERALL: Final = verdict(
    "vigil.performance.overall",
    "{score}",
    "Score against all labels of the version, corrections included, by metric.",
    "metric",
)
PERFORMANCE_ESTIMATED: Final = verdict(
    "vigil.performance.estimated",
    "{score}",
    "Latest score estimated without labels, by metric.",
    "metric",
)
PERFORMANCE_ESTIMATION_ERROR: Final = verdict(
    "vigil.performance.estimation_error",
    "{score}",
    "How far estimates were from the latest labelled rows, by metric.",
    "metric",
)
FAIRNESS_DISPARITY: Final = verdict(
    "vigil.fairness.disparity",
    "{score}",
    "Latest disparity, by metric and attribute.",
    "metric",
    "attribute",
)
FAIRNESS_CI_LOWER: Final = verdict(
    "vigil.fairness.disparity.ci.lower",
    "{score}",
    "Lower end of the disparity's interval.",
    "metric",
    "attribute",
)
FAIRNESS_SUPPRESSED: Final = verdict(
    "vigil.fairness.suppressed_cells",
    "{group}",
    "Groups that are too small to be compared, by metric and attribute.",
    "metric",
    "attribute",
)
FAIRNESS_CI_UPPER: Final = verdict(
    "vigil.fairness.disparity.ci.upper",
    "{score}",
    "Upper end of the disparity's interval.",
    "metric",
    "attribute",
)
