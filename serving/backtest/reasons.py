"""What the rows of a model tell of a breach: `vigil why` in one sentence, with its figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import numpy as np

from monitors.slices.causes import FEWEST, Explanation, explain_change
from monitors.slices.slice_report import Slice
from monitors.slices.worst_slices import most_disparate_slices, worst_slices
from serving.backtest.labelled_losses import LabelledLosses
from serving.channel.messages.causes import Cause

MOST_FEATURES: Final = 3
MOST_GROUPS: Final = 20
"""Groups of an attribute, the largest ones, that are compared with all others."""
LEAST_WEIGHT: Final = 0.01
WORSE: Final = 1.1
"""How many times the mean loss it takes to be named: of many rows chance explains less."""
OF_TIME: Final[Mapping[str, str]] = {
    "covariate shift": "rows of a kind that the model was always bad at have become more frequent",
    "concept shift": "rows like those of before have other truths now",
    "unseen region": "rows come that have no like before",
}
_OF_GROUPS: Final[Mapping[str, str]] = {
    "covariate shift": "their inputs differ, and others with such inputs are treated alike",
    "concept shift": "rows with the same inputs are treated otherwise",
    "unseen region": "many of their rows have no like among the others",
}


def why_worse(before: LabelledLosses, after: LabelledLosses, what: str) -> Cause:
    """Return why the mean loss has changed.

    Args:
        before, after: rows with labels on both sides of the change.
        what: the loss, in words.
    """
    rows = len(before.losses), len(after.losses)
    if min(rows) < FEWEST:
        return Cause(
            summary=f"the cause is not known: there are {rows[0]} rows with labels before and "
            f"{rows[1]} since then, and {FEWEST} are needed on both sides",
            rows=rows,
        )
    change = explain_change(before.columns, before.losses, after.columns, after.losses)
    was, now = before.losses.mean(), after.losses.mean()
    if change.cause is None:
        return Cause(
            summary=f"the rows explain no change: the {what} was {was:.3g} before and is "
            f"{now:.3g} since then, which chance or another time may explain",
            change=change.change.value,
            rows=rows,
        )
    worst = _worst(after)
    said = (
        f"{change.cause}: {OF_TIME[change.cause]}; the {what} was {was:.3g} of {rows[0]} rows "
        f"before and is {now:.3g} of {rows[1]} since{_carried(change)}"
    )
    if worst is not None:
        said += f"; worst where {worst.words}: {worst.value:.3g}"
    return _told(said, change, rows, where="" if worst is None else worst.words)


def why_unalike(rows: LabelledLosses, attribute: str, what: str, *, low: bool) -> Cause:
    """Return why groups differ in a rate, or in a mean error.

    The group that is worst off beside all others is compared with them, row by row: differences of
    their inputs are told from another treatment of the same inputs.

    Args:
        rows: with 0 or 1 in place of a loss, or with errors of numbers.
        attribute: whose groups they are.
        what: the rate or mean error, in words.
        low: whether those with the lowest rate are worst off; else those with the highest.
    """
    if attribute not in rows.groups:
        return Cause(summary=f"the cause is not known: no row says its '{attribute}'")
    told = np.array([each is not None for each in rows.groups[attribute].tolist()])
    some = rows.some(told)
    group = _worst_off(some, attribute, low=low)
    if group is None:
        return Cause(
            summary=f"the cause is not known: no two sides of '{attribute}' have {FEWEST} rows "
            "that are known"
        )
    members = some.groups[attribute] == group
    others, mine = some.some(~members), some.some(members)
    counts = len(others.losses), len(mine.losses)
    found = explain_change(others.columns, others.losses, mine.columns, mine.losses)
    said = (
        f"{what} is {mine.losses.mean():.3g} of {counts[1]} rows of {attribute} = {group} and "
        f"{others.losses.mean():.3g} of {counts[0]} others"
    )
    if found.cause is not None:
        said = f"{found.cause}: {said}; {_OF_GROUPS[found.cause]}{_carried(found)}"
    place: Slice | None
    if np.isin(some.losses, (0, 1)).all():
        report = most_disparate_slices(some.columns, some.losses, members)
        place = next((each for each in report.slices if each.confirmed), None)
        if place is not None:
            said += f"; most where {place.words}: {place.value:+.3g}"
    else:
        place = _worst(mine) if mine.losses.min() < mine.losses.max() else None
        if place is not None:
            said += f"; largest of theirs where {place.words}: {place.value:.3g}"
    if found.cause is None and place is None:
        return Cause(summary=f"the rows explain no difference: {said}", group=group, rows=counts)
    return _told(said, found, counts, group=group, where="" if place is None else place.words)


def _told(
    said: str, found: Explanation, rows: tuple[int, int], *, group: str = "", where: str = ""
) -> Cause:
    return Cause(
        summary=said,
        known=True,
        kind=found.cause or "",
        change=found.change.value,
        parts={name: part.value for name, part in found.parts.items()},
        features=dict(_heaviest(found)),
        group=group,
        where=where,
        rows=rows,
    )


def _heaviest(found: Explanation) -> list[tuple[str, float]]:
    heavy = [each for each in found.features if each[1] > LEAST_WEIGHT]
    return heavy[:MOST_FEATURES]


def _carried(found: Explanation) -> str:
    named = [f"'{name}' ({weight:.0%})" for name, weight in _heaviest(found)]
    return f", carried by {', '.join(named)}" if named else ""


def _worst(rows: LabelledLosses) -> Slice | None:
    found = worst_slices(rows.columns, rows.losses).slices
    clear = (each for each in found if each.confirmed and each.value > WORSE * each.overall)
    return next(clear, None)


def _worst_off(rows: LabelledLosses, attribute: str, *, low: bool) -> str | None:
    """Return the group whose rate is farthest on the bad side of all others'; None: none is."""
    values = rows.groups[attribute]
    farthest, gap = None, 0.0
    for value, count in Counter(values.tolist()).most_common(MOST_GROUPS):
        if count < FEWEST or len(values) - count < FEWEST:
            continue
        members = values == value
        more = float(rows.losses[members].mean() - rows.losses[~members].mean())
        worse = -more if low else more
        if worse > gap:
            farthest, gap = str(value), worse
    return farthest
