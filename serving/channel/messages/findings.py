"""Findings on their way from the monitor to the control plane, and to clients that ask for a
model's.

Kind `findings_changed` (notify, monitor to control plane): `FindingsChanged`, all findings of the
monitor, sent when one differs from what the control plane was told last, and after every
(re)connect.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

FINDINGS_CHANGED: Final = "findings_changed"


class FindingRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finding; see `monitors.finding.Finding`. A number that is not finite is None.

    Attributes:
        model: what was judged; empty, and left out, where all findings are of one named model.
        reason: why there is no verdict; empty when there is one.
        window: (first, last) event time in seconds since the epoch.
        age_s: seconds since the end of the window, when this was made.
        revised: labels of the window that were replaced after it was judged first; left out: none.
        since: seconds since the epoch from which on it has probably been breached; left out: not
            known.
        detail: evidence; see `monitors.finding.Finding`. Left out: none.
    """

    model: str = ""
    version: str
    monitor: str
    metric: str
    subject: str
    value: float | None
    threshold: float | None
    direction: Literal["above", "below"]
    breached: bool | None
    reason: str
    n_reference: int
    n_current: int
    window: tuple[float | None, float | None]
    age_s: float
    p_value: float | None
    ci: tuple[float | None, float | None] | None
    severity: Literal["info", "ticket", "page"]
    segment: str
    window_id: str
    revised: int = 0
    since: float | None = None
    detail: dict[str, Any] = {}


class Unjudged(msgspec.Struct, frozen=True):
    """Something that a model's configuration wants judged, and that has no findings.

    Attributes:
        monitor: the judge's name, as in its findings.
        kind: `blind`: it cannot run; `waiting`: it has not had enough rows yet.
        why: the reason, without anything that changes with each row.
    """

    model: str
    version: str
    monitor: str
    kind: Literal["blind", "waiting"]
    why: str


class FindingsChanged(msgspec.Struct, frozen=True):
    """All findings of a monitor; each names its model.

    Attributes:
        findings: the latest ones.
        passed: breaches of windows that were followed by others before anybody was told of them.
        unjudged: what has no findings.
    """

    findings: tuple[FindingRecord, ...]
    passed: tuple[FindingRecord, ...] = ()
    unjudged: tuple[Unjudged, ...] = ()


class ModelFindings(msgspec.Struct, frozen=True):
    """The latest findings of one model, and notes on what is not watched; as JSON for clients."""

    model: str
    findings: tuple[FindingRecord, ...]
    notes: tuple[str, ...]
