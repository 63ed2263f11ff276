"""How bad an incident is: what monitors say a breach is worth, raised by harm, lowered by doubt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from serving.channel.messages.findings import FindingRecord
from serving.channel.messages.incidents import SEVERITIES, Severity

HARM: Final = "performance"
"""Breaches of this monitor are harm that is measured."""
ESTIMATED_HARM: Final = "estimation"
"""Breaches of this monitor are harm that is estimated, if they are more than an info: then labels
have said that its estimates are worth something."""
DATA_QUALITY: Final = "data_quality"
"""A monitor whose pages explain that inputs have drifted."""


def rank(severity: Severity) -> int:
    """Return the place of a severity on the ladder; 0 is the lowest."""
    return SEVERITIES.index(severity)


def severity_of(breached: Iterable[FindingRecord], harmed: bool) -> Severity:
    """Return the severity of breaches of one cause.

    Args:
        breached: at least one.
        harmed: whether the model does worse than it should. Then what would be looked up only is
            worked on: drift with harm is a ticket.
    """
    worst = max((each.severity for each in breached), key=rank)
    return "ticket" if worst == "info" and harmed else worst


def lowered(severity: Severity, steps: int) -> Severity:
    """Return the severity so many steps down the ladder."""
    return SEVERITIES[max(rank(severity) - steps, 0)]


def harmed_models(findings: Iterable[FindingRecord]) -> set[str]:
    """Return the models that do worse than they should."""
    return {each.model for each in findings if each.breached and _harm(each)}


def _harm(finding: FindingRecord) -> bool:
    if finding.monitor == ESTIMATED_HARM:
        return finding.severity != "info"
    return finding.monitor.startswith(HARM)


def broken_models(findings: Iterable[FindingRecord]) -> set[str]:
    """Return the models whose data is broken hard."""
    return {
        each.model
        for each in findings
        if each.breached and each.monitor == DATA_QUALITY and each.severity == "page"
    }
