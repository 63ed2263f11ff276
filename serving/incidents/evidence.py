"""The evidence of an incident: the only place where it is gathered from findings."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Final

from serving.channel.messages.findings import FindingRecord
from serving.channel.messages.incidents import Evidence, LastDeployment, Measured
from serving.incidents.ladder import rank

TOP: Final = 10
"""Measurements that are kept; the others are counted."""


def evidence_of(
    breached: Sequence[FindingRecord], now: float, deployment: LastDeployment | None
) -> Evidence:
    """Return what breaches of one cause say.

    Args:
        breached: at least one.
        now: seconds since the epoch, for what has no time of its own.
        deployment: the model's last one.
    """
    ordered = sorted(breached, key=_says_most)
    return Evidence(
        leading=measured(ordered[0]),
        since=min(since(each, now) for each in breached),
        breached=len(breached),
        top=tuple(map(measured, ordered[:TOP])) if len(ordered) > 1 else (),
        deployment=deployment,
        reason=ordered[0].reason,
    )


def measured(found: FindingRecord) -> Measured:
    """Return a finding as a measurement."""
    return Measured(
        metric=found.metric,
        subject=found.subject,
        segment=found.segment,
        version=found.version,
        value=found.value,
        threshold=found.threshold,
        direction=found.direction,
        ci=found.ci,
        p_value=found.p_value,
        n_reference=found.n_reference,
        n_current=found.n_current,
        window=found.window,
        window_id=found.window_id,
        detail=found.detail,
    )


def window_end(found: FindingRecord) -> float:
    """Return when a finding's window ended, seconds since the epoch; 0 where that is not known."""
    return found.window[1] or 0.0


def since(found: FindingRecord, now: float) -> float:
    """Return from when on it has probably been so: what the monitor says, or its window."""
    known = found.window[0] if found.since is None else found.since
    return now if known is None else known


def _says_most(found: FindingRecord) -> tuple[int, bool, float, float, bool, str, str]:
    """Order by severity, then what is about one part of the model, then by how far it is off.

    What tells how it was found goes before another figure of the same.
    """
    p = 1.0 if found.p_value is None else found.p_value
    return (
        -rank(found.severity),
        not found.subject,
        -_excess(found),
        p,
        not found.detail,
        found.subject,
        found.metric,
    )


def _excess(found: FindingRecord) -> float:
    """Return how many times its threshold a value is, or the other way round where low is bad."""
    if found.value is None or found.threshold is None:
        return 0.0
    value, threshold = abs(found.value), abs(found.threshold)
    over, under = (value, threshold) if found.direction == "above" else (threshold, value)
    return min(over / under, sys.float_info.max) if under > 0 else math.inf
