"""Findings as the records that clients and the control plane are given."""

from __future__ import annotations

import math
from dataclasses import replace

from monitors.finding import Finding
from serving.channel.messages.findings import FindingRecord

_UNITS = ((86400, "days"), (3600, "hours"), (60, "minutes"))


def record(finding: Finding, now: float, model: str = "") -> FindingRecord:
    """Return a finding as it travels; NaN and infinity become None.

    Args:
        finding: what was found.
        now: seconds since the epoch, from which its age is counted.
        model: what was judged; empty where whoever is told knows that.
    """
    return FindingRecord(
        model=model,
        version=finding.version,
        monitor=finding.monitor,
        metric=finding.metric,
        subject=finding.subject,
        value=_number(finding.value),
        threshold=None if finding.threshold is None else _number(finding.threshold),
        direction=finding.direction,
        breached=finding.breached,
        reason=finding.why_unknown,
        n_reference=finding.n_reference,
        n_current=finding.n_current,
        window=_pair(finding.window),
        age_s=round(max(now - finding.window[1], 0.0), 3),
        p_value=None if finding.p_value is None else _number(finding.p_value),
        ci=None if finding.ci is None else _pair(finding.ci),
        severity=finding.severity,
        segment=finding.segment,
        window_id=finding.window_id,
        revised=finding.revised,
        since=None if finding.since is None else _number(finding.since),
        detail=dict(finding.detail),
    )


def stale(finding: Finding, idle_s: float, what: str = "rows") -> Finding:
    """Return a finding as it counts once its monitor has had no rows for `idle_s` seconds.

    Args:
        finding: what was found.
        idle_s: seconds without rows.
        what: what the monitor calls its rows.
    """
    if finding.breached is None:
        return finding
    was = "breached" if finding.breached else "fine"
    reason = f"stale: no {what} for {_words(idle_s)}; {was} before that"
    return replace(finding, breached=None, reason=reason)


def _words(seconds: float) -> str:
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _pair(values: tuple[float, float]) -> tuple[float | None, float | None]:
    first, last = values
    return _number(first), _number(last)
