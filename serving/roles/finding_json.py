"""Findings as the plain values that clients and the hub are given."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from monitors.finding import Finding


def plain(finding: Finding, version: str) -> dict[str, Any]:
    """Return a finding as JSON-serialisable values; NaN and infinity become null."""
    return {
        "version": version,
        "monitor": finding.monitor,
        "metric": finding.metric,
        "subject": finding.subject,
        "value": _number(finding.value),
        "threshold": _number(finding.threshold),
        "direction": finding.direction,
        "breached": finding.breached,
        "n_reference": finding.n_reference,
        "n_current": finding.n_current,
        "window": _numbers(finding.window),
        "p_value": None if finding.p_value is None else _number(finding.p_value),
        "ci": None if finding.ci is None else _numbers(finding.ci),
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [_number(value) for value in values]
