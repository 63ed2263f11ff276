"""What a monitor says about one window: a value, its uncertainty, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

Severity = Literal["info", "ticket", "page"]
"""What a breach is worth: to be looked up, to be worked on in office hours, to wake somebody."""


ESTIMATION_ERROR: Final = "_estimation_error"
"""Behind the name of a metric: how far its estimate was from what labels say."""
NO_THRESHOLD: Final = "no threshold set"
"""Why a finding without one has no verdict."""
NO_RATE: Final = "no rate is stated"
"""Why that of a guard has none that states no share of rows that it flags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One metric of one monitor over one window.

    Monitors know neither the model nor its version; whoever runs them fills both in.

    Attributes:
        monitor: the monitor's name, for example `drift`.
        metric: what was measured, for example `psi` or `demographic_parity_difference`.
        subject: the feature, attribute or class it was measured on; empty for the whole model.
        value: the measured value; NaN when there was nothing to measure.
        direction: `above` or `below`: on which side of the threshold it is bad.
        n_reference: rows in the reference.
        n_current: rows in the window.
        window: (first, last) event time in seconds since the epoch.
        threshold: what `value` is compared with; None when nobody has set one, or a test decides.
        breached: the verdict; None when it is unknown, as it is with neither threshold nor test.
        p_value: of the test behind the verdict, adjusted for multiplicity; None without a test.
        ci: interval of `value` at the monitor's confidence; None without one.
        reason: why the verdict is unknown, in a few words; empty when it is known.
        severity: what a breach is worth.
        window_id: tells the window from all others of the monitor; see `TumblingWindow.ident`.
        segment: the part of the rows it is about; empty for all of them.
        revised: labels of the window that were replaced after it was judged first.
        since: seconds since the epoch from which on what is breached has probably been so; None
            where that is not known.
        detail: evidence as JSON values without NaN, for people and pictures: which statistic has
            moved, the histograms behind it, how the test came to its verdict.
        model, version: what was judged; empty as monitors return it.

    Raises:
        ValueError: there is a verdict and nothing that it could have been judged by.
    """

    monitor: str
    metric: str
    subject: str
    value: float
    direction: Literal["above", "below"]
    n_reference: int
    n_current: int
    window: tuple[float, float]
    threshold: float | None = None
    breached: bool | None = None
    p_value: float | None = None
    ci: tuple[float, float] | None = None
    reason: str = ""
    severity: Severity = "info"
    window_id: str = ""
    segment: str = ""
    revised: int = 0
    since: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        judged = self.threshold is not None or self.p_value is not None
        if self.breached is not None and not judged:
            raise ValueError(
                f"{self.monitor}: {self.metric} has a verdict without a threshold or a test"
            )

    @property
    def why_unknown(self) -> str:
        """Why there is no verdict, in a few words; empty when there is one."""
        if self.breached is not None:
            return ""
        return self.reason or (NO_THRESHOLD if self.threshold is None else "not enough is known")


_NAMES: Final = tuple(each.name for each in fields(Finding))


def findings_to_state(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return findings as JSON values; a NaN value becomes null, which strict JSON can hold."""
    # Not by `asdict`, which copies what it finds: there are hundreds, and they are saved often.
    return [
        {name: getattr(finding, name) for name in _NAMES}
        | {"value": None if math.isnan(finding.value) else finding.value}
        for finding in findings
    ]


def findings_from_state(raw: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Return the findings that `findings_to_state` was given; attributes may be missing."""
    return [
        Finding(
            **{
                **item,
                "value": math.nan if item["value"] is None else item["value"],
                "window": tuple(item["window"]),
                "ci": None if item["ci"] is None else tuple(item["ci"]),
            }
        )
        for item in raw
    ]
