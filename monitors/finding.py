"""What a monitor says about one window: a value, its uncertainty, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One metric of one monitor over one window.

    Attributes:
        monitor: the monitor's name, for example `drift`.
        metric: what was measured, for example `psi` or `demographic_parity_difference`.
        subject: the feature, attribute or class it was measured on; empty for the whole model.
        value: the measured value; NaN when there was nothing to measure.
        threshold: what `value` is compared with; None when nobody has set one.
        direction: `above` or `below`: on which side of the threshold it is bad.
        breached: the verdict; None when it is unknown.
        n_reference: rows in the reference.
        n_current: rows in the window.
        window: (first, last) event time in seconds since the epoch.
        p_value: of the test behind the verdict, adjusted for multiplicity; None without a test.
        ci: interval of `value` at the monitor's confidence; None without one.
        reason: why the verdict is unknown, in a few words; empty when it is known.
    """

    monitor: str
    metric: str
    subject: str
    value: float
    threshold: float | None
    direction: str
    breached: bool | None
    n_reference: int
    n_current: int
    window: tuple[float, float]
    p_value: float | None = None
    ci: tuple[float, float] | None = None
    reason: str = ""
