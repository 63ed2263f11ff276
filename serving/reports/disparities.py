"""What a report of fairness says, as figures."""

from __future__ import annotations

import msgspec

from serving.reports.performance import Verdict


class GroupFigures(msgspec.Struct, frozen=True):
    """What is shown of a group.

    Attributes:
        rows, labelled: how many; None: suppressed.
        coverage: share of its rows that have a label; None: suppressed.
        figures: rates and means by name; None: suppressed, or there is nothing to measure.
    """

    attribute: str
    group: str
    rows: int | None
    labelled: int | None
    coverage: float | None
    figures: dict[str, float | None]


class Disparity(msgspec.Struct, frozen=True):
    """How far apart two groups are.

    Attributes:
        metric: as fairlearn and the monitor name it, `..._difference` or `..._ratio`.
        first, second: the groups, that of the larger figure first.
        first_value, second_value: their figures.
        value, low, high: the difference or ratio, and its interval, which holds for all pairs of
            the metric and attribute together.
        tolerated: None: nobody has said what is.
        reason: why the verdict is unknown.
    """

    attribute: str
    metric: str
    first: str
    second: str
    first_value: float
    second_value: float
    value: float | None
    low: float | None
    high: float | None
    tolerated: float | None
    verdict: Verdict
    reason: str


class Fairness(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of fairness.

    Attributes:
        rows, labelled: how many there were.
        groups: of each attribute, the largest first.
        others: by attribute, how many groups are not named: too small, or too many.
        disparities: of each pair that is compared.
        notes: what could not be compared, one sentence each.
    """

    rows: int
    labelled: int
    groups: tuple[GroupFigures, ...]
    others: dict[str, int]
    disparities: tuple[Disparity, ...]
    notes: tuple[str, ...]
