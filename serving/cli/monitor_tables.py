"""What is watched, as tables for people: what is seen worst comes first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from rich.table import Column, Table

from serving.channel.messages.watched import WatchedItem, WatchedModel, WatchedMonitor
from serving.cli.console import OUT, cell, say

MOST_LINES: Final = 8
"""Things of a monitor that are shown without `--all`."""
_UNITS: Final = {"sd": "{} sd", "correlation": "{}", "metric": "{}"}
_SECONDS: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
_UNKNOWN: Final = "?"
_VARIES: Final = 1.05
"""Times as much as independent rows from which on it is told."""


class Line(NamedTuple):
    """A thing that is shown, and how many statistics of it are watched."""

    item: WatchedItem
    statistics: int


def show(found: WatchedModel, *, everything: bool = False) -> None:
    """Print what is watched.

    Args:
        found: of a model.
        everything: whether each statistic has a line of its own.
    """
    pages = found.false_pages_per_quarter
    say(f"{found.model}: at most {_short(pages)} false pages in 90 days are expected")
    for monitor in found.monitors:
        _show(monitor, everything=everything)
    if found.not_watched:
        say("")
        say("not watched:")
        for sentence in found.not_watched:
            say(f"  {sentence}")


def _show(monitor: WatchedMonitor, *, everything: bool) -> None:
    say("")
    say(_headline(monitor))
    say(f"  {_windows(monitor)}")
    judged = [each for each in monitor.items if not each.not_judged]
    lines = [Line(each, 1) for each in judged] if everything else _grouped(judged)
    lines.sort(key=_blindness, reverse=True)
    shown = lines if everything else lines[:MOST_LINES]
    if shown:
        OUT.print(_table(shown, "-" if _paced(monitor) else _UNKNOWN))
    if len(lines) > len(shown):
        seen = ", of which smaller changes are seen" if _paced(monitor) else ""
        say(f"  and {len(lines) - len(shown)} more{seen}: --all")
    free = [each for each in monitor.items if each.not_judged]
    if free:
        names = dict.fromkeys(each.metric for each in free)
        say(f"  measured without a verdict ({free[0].not_judged}): {', '.join(names)}")
    for sentence in monitor.not_watched:
        say(f"  not watched: {sentence}")


def _headline(monitor: WatchedMonitor) -> str:
    budget = monitor.false_alarms_per_quarter
    worth = _worth(monitor.items)
    chance = (
        "" if budget is None
        else f"; at most {_short(budget)} false alarms in 90 days, "
        f"shared by {monitor.streams} statistics"
    )  # fmt: skip
    return f"{monitor.title} ({worth}), version {monitor.version}{chance}"


def _worth(items: Iterable[WatchedItem]) -> str:
    known = {each.severity for each in items if not each.not_judged}
    return " or ".join(each for each in ("page", "ticket", "info") if each in known) or "info"


def _windows(monitor: WatchedMonitor) -> str:
    ends = "" if monitor.window_s is None else f" or {_time(monitor.window_s)}"
    told = [f"against {monitor.reference}; windows of {monitor.window} {monitor.counts}{ends}"]
    if monitor.interval_s is not None:
        told.append(f"one ends every {_time(monitor.interval_s)}")
    elif monitor.false_alarms_per_quarter is not None:
        told.append("how often one ends is not known yet")
    levels = {each.level for each in monitor.items if each.level is not None}
    if levels:
        told.append(f"each look alarms by chance with p < {max(levels):.1e}")
    factors = [each.factor for each in monitor.items if each.factor is not None]
    if factors and max(factors) > _VARIES:
        told.append(
            f"windows vary up to {max(factors):.2g} times as much as independent rows would"
        )
    bases = dict.fromkeys(each.basis for each in monitor.items if each.factor is not None)
    if bases:
        told.append(f"the variation is known from: {next(iter(bases))}")
    return ", ".join(told)


def _grouped(items: Sequence[WatchedItem]) -> list[Line]:
    """Return a line for each metric, subject and segment: its statistic that is seen worst."""
    groups: dict[tuple[str, str, str], list[WatchedItem]] = {}
    for each in items:
        groups.setdefault((each.metric, each.subject, each.segment), []).append(each)
    return [
        Line(max(of_it, key=lambda item: _blindness(Line(item, 1))), len(of_it))
        for of_it in groups.values()
    ]


def _blindness(line: Line) -> tuple[float, ...]:
    """Return what orders lines: how large a change must be to be seen, within a day first."""
    seen = [math.inf if each.change is None else each.change for each in line.item.sees]
    day, hour, week = (seen[1], seen[0], seen[2]) if len(seen) == 3 else (-1.0, -1.0, -1.0)
    return day, week, hour


def _paced(monitor: WatchedMonitor) -> bool:
    """Whether it is known how often a window ends, and so what is seen within which time."""
    return monitor.interval_s is not None or monitor.false_alarms_per_quarter is None


def _table(lines: Sequence[Line], none: str) -> Table:
    names = ["within 1 h", "1 day", "1 week"]
    needs = any(line.item.needs is not None for line in lines)
    table = Table(
        Column("what", overflow="fold"),
        Column("varies", justify="right"),
        *(Column(name, justify="right") for name in names),
        *([Column("rows needed", justify="right", overflow="fold")] if needs else []),
        pad_edge=False,
    )
    for line in lines:
        item = line.item
        seen = [_change(each.change, item, none) for each in item.sees] or [_exact(item), "", ""]
        table.add_row(
            cell(_what(line)),
            "" if item.factor is None else f"{item.factor:.2g} x",
            *seen,
            *([_needs(item)] if needs else []),
        )
    return table


def _exact(item: WatchedItem) -> str:
    rows = item.threshold or 1.0
    return "one row" if rows <= 1 else f"{rows:.0f} rows"


def _what(line: Line) -> str:
    item = line.item
    named = f"{item.subject}: " if item.subject else ""
    where = f" [{item.segment}]" if item.segment else ""
    if item.unit == "metric" or not item.statistic:
        of_what = f"{item.metric}, {item.statistic}" if item.statistic else item.metric
    else:
        of_what = item.statistic
    more = f" (worst of {line.statistics})" if line.statistics > 1 else ""
    limited = item.threshold is not None and item.unit
    limit = f" ({_short(item.threshold)})" if limited and item.threshold is not None else ""
    return f"{named}{of_what}{limit}{where}{more}"


def _change(change: float | None, item: WatchedItem, none: str) -> str:
    if change is None:
        return none
    if item.unit == "share":
        return f"{100 * change:.2g} %"
    return _UNITS[item.unit].format(f"{change:.2g}")


def _needs(item: WatchedItem) -> str:
    needs = item.needs
    if needs is None:
        return ""
    time = "" if needs.seconds is None else f", {_time(needs.seconds)}"
    return f"{needs.rows:.0f} rows{time} for {_short(needs.gap)}"


def _short(number: float) -> str:
    return f"{number:.3g}"


def _time(seconds: float) -> str:
    for size, unit in _SECONDS:
        if seconds >= 2 * size or (size == 3600 and seconds == size):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
