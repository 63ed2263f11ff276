"""Which findings belong together: an incident is about one model and one cause.

Thirty columns that drift are one thing that has happened, and two attributes that are treated
unalike are two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from monitors.finding import ESTIMATION_ERROR, NO_RATE, NO_THRESHOLD
from serving.channel.messages.findings import FindingRecord
from serving.errors import printable

_UNWANTED: Final = frozenset({NO_THRESHOLD, NO_RATE})
"""Why there is no verdict where nobody wants one."""
_BY_SUBJECT: Final = frozenset({"fairness", "guard_rate"})
"""Monitors of which each subject is a cause of its own."""
_FAMILIES: Final = {("quality", "non_finite_rows"): "answers"}
"""Metrics that are about something else than the others of their monitor."""


class Key(NamedTuple):
    """What there is at most one active incident of."""

    model: str
    cause: str


def cause_of(found: FindingRecord) -> str:
    """Return the cause that a finding speaks for."""
    family = _FAMILIES.get((found.monitor, found.metric), "")
    if found.monitor in _BY_SUBJECT:
        family = found.subject
    return printable(f"{found.monitor}/{family}" if family else found.monitor)


def grouped(findings: Iterable[FindingRecord]) -> dict[Key, list[FindingRecord]]:
    """Return findings by model and cause, without those that nobody is to be told of."""
    groups: dict[Key, list[FindingRecord]] = {}
    for found in findings:
        if _wanted(found):
            groups.setdefault(Key(found.model, cause_of(found)), []).append(found)
    return groups


def _wanted(found: FindingRecord) -> bool:
    # Estimates that labels have proven wrong may alert no longer, which is all that it means.
    if found.metric.endswith(ESTIMATION_ERROR):
        return False
    return found.breached is not None or found.reason not in _UNWANTED
