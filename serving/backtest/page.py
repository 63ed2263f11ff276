"""The outcome of a backtest as one HTML file, which needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from serving.backtest.chart import Axis, lanes, line
from serving.backtest.document import document
from serving.backtest.figures import ROWS
from serving.backtest.outcome import Figure, Outcome
from serving.backtest.words import false_pages, headline
from serving.channel.messages.incidents import Incident
from serving.incidents.sentences import ago, how_sure, measurement, moment

MOST_SHOWN: Final = 24
"""Figures that have never been off; those that were are all shown, up to as many again."""


def page(outcome: Outcome, stated: float) -> str:
    """Return the page.

    Args:
        outcome: what was found.
        stated: false pages per 90 days that are allowed.
    """
    axis = Axis(outcome.first, outcome.last)
    parts = [
        f"<h1>What the monitors of {escape(outcome.model)} would have told</h1>",
        f"<p>{escape(headline(outcome))}</p>",
        f"<p>{escape(false_pages(outcome, stated))}</p>",
        "<h2>Incidents over time</h2>",
        lanes(outcome.incidents, axis) if outcome.incidents else "<p>None was opened.</p>",
        *map(_incident, outcome.incidents),
        _not_judged(outcome),
        "<h2>Figures</h2>",
        *_figures(outcome.figures, axis),
    ]
    return document(f"Backtest of {outcome.model}", parts)


def _incident(one: Incident) -> str:
    over = "open to the end"
    if one.closed_at is not None:
        over = f"over after {ago(one.closed_at - one.opened_at)}"
    sure = how_sure(one.first.leading)
    more = "".join(
        f"<li>{escape(measurement(each))}</li>" for each in one.evidence.top if one.evidence.top[1:]
    )
    return (
        f'<article class="{one.severity}" id="incident-{escape(one.id)}">'
        f'<p><b class="{one.severity}">{one.severity}</b> '
        f"{escape(moment(one.opened_at))}, {over}</p><p>{escape(one.summary)}</p>"
        f'<p class="dim">probably since {escape(moment(one.first.since))}'
        f"{escape(f'; {sure}' if sure else '')}</p>"
        f"{f'<ul>{more}</ul>' if more else ''}</article>"
    )


def _not_judged(outcome: Outcome) -> str:
    said = [*outcome.notes, *(f"{each.cause}: {each.why}" for each in outcome.unknown)]
    if not said:
        return ""
    lines = "".join(f"<li>{escape(each)}</li>" for each in dict.fromkeys(said))
    return f"<h2>Not judged</h2><ul>{lines}</ul>"


def _figures(figures: Sequence[Figure], axis: Axis) -> list[str]:
    first = [each for each in figures if each.metric == ROWS and not each.monitor]
    off = sorted((each for each in figures if each.breaches), key=lambda each: -each.breaches)[
        :MOST_SHOWN
    ]
    calm = [each for each in figures if not each.breaches and each.monitor][:MOST_SHOWN]
    shown = [*first, *off, *calm]
    left = len(figures) - len(shown)
    parts = [f"<h3>{escape(_title(each))}</h3>{line(each, axis)}" for each in shown]
    if left:
        parts.append(f'<p class="dim">{left} more figures, which were never off or less often.</p>')
    return parts


def _title(figure: Figure) -> str:
    if not figure.monitor:
        return "rows per hour"
    about = f" of {figure.subject}" if figure.subject else ""
    part = f" where {figure.segment}" if figure.segment else ""
    off = f": off at {figure.breaches} looks" if figure.breaches else ""
    return f"{figure.monitor}: {figure.metric}{about}{part} (version {figure.version}){off}"
