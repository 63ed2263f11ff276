"""Findings as JSON-serialisable values and back, so that they outlive a restart of a monitor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from monitors.finding import Finding


def findings_to_state(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return findings as JSON values; a NaN value becomes null, which strict JSON can hold."""
    return [
        {**asdict(finding), "value": None if math.isnan(finding.value) else finding.value}
        for finding in findings
    ]


def findings_from_state(raw: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Return the findings that `findings_to_state` was given."""
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
