"""What a backtest has found, in sentences."""

from __future__ import annotations

from serving.backtest.outcome import Outcome
from serving.channel.messages.incidents import SEVERITIES
from serving.incidents.sentences import moment


def headline(outcome: Outcome) -> str:
    """Say what was looked at, and what was found."""
    counts = [(outcome.count(severity), severity) for severity in reversed(SEVERITIES)]
    found = ", ".join(f"{count} {_name(severity, count)}" for count, severity in counts)
    return (
        f"{outcome.rows} rows and {outcome.labels} labels from {moment(outcome.first)} to "
        f"{moment(outcome.last)}: {found}."
    )


def _name(severity: str, count: int) -> str:
    return severity if severity == "info" or count == 1 else f"{severity}s"


def false_pages(outcome: Outcome, stated: float) -> str:
    """Say what the pages mean for false ones.

    Args:
        outcome: what was found.
        stated: false pages per 90 days that are allowed.
    """
    found = outcome.false_pages(stated)
    pages = f"{found.pages} {'page' if found.pages == 1 else 'pages'} in {found.days:.3g} days"
    rate = f"{found.per_quarter:.2g} a quarter (95 % interval {found.low:.2g} to {found.high:.2g})"
    allowed = f"monitors.false_pages_per_quarter allows {stated:g}"
    if not found.pages:
        return (
            f"No page in {found.days:.3g} days: with 95 % confidence fewer than {found.high:.2g} "
            f"false pages a quarter; {allowed}."
        )
    return f"{pages}: if nothing was wrong, that is {rate}; {allowed}."
