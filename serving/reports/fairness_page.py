"""The report of fairness as one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from monitors.fairness.group_bounds import SMALLEST_GROUP
from serving.backtest.document import document
from serving.reports.disparities import Disparity, Fairness, GroupFigures
from serving.reports.tables import (
    ALL_LABELS,
    INDEPENDENT,
    Text,
    between,
    heading,
    items,
    name,
    number,
    paragraph,
    table,
    verdict,
)

MOST_PAIRS: Final = 60
"""Rows of a table that are shown, the worst first; all are in the JSON."""
HIDDEN: Final = "hidden"
_HEADS: Final = (
    "metric", "groups", "figures", "value", "interval of 95 %", "tolerated", "verdict",
)  # fmt: skip
_RANK: Final = {"beyond": 0, "unknown": 1, "within": 2}


def fairness_page(
    title: str,
    about: str,
    notes: Sequence[str],
    found: Fairness,
    metric_frame: Mapping[str, Mapping[str, float]] | None,
) -> str:
    """Return the page.

    Args:
        title: plain text.
        about: what rows it is about, one sentence.
        notes: what they lack, one sentence each.
        found: what is known.
        metric_frame: fairlearn's figures by attribute; None: it is not installed.
    """
    parts = [
        heading(title),
        paragraph(about),
        paragraph(headline(found)),
        items([*notes, *found.notes]),
        paragraph(
            f"Groups with at least {SMALLEST_GROUP} rows are named. Figures of fewer rows are "
            f"{HIDDEN}, and so are counts that would tell them from a total. {INDEPENDENT} "
            f"{ALL_LABELS}",
            "dim",
        ),
    ]
    attributes = list(dict.fromkeys(each.attribute for each in found.groups))
    for attribute in attributes:
        parts += [
            heading(f"By {attribute}", 2),
            _groups([each for each in found.groups if each.attribute == attribute]),
        ]
        if others := found.others.get(attribute):
            parts.append(paragraph(
                f"{others} more group{'s' if others > 1 else ''} not shown: with fewer than "
                f"{SMALLEST_GROUP} rows, or hidden so that these cannot be told from the total, or "
                f"beyond the largest 12.", "dim"))  # fmt: skip
        parts += _pairs([each for each in found.disparities if each.attribute == attribute])
    parts.append("<h2>The same by fairlearn</h2>")
    parts.append(_frame(metric_frame))
    return document(title, parts, wide=True)


def headline(found: Fairness) -> str:
    """Say how many rows have a label, and which disparities are beyond what is tolerated."""
    said = f"{found.labelled} of {found.rows} rows have a label."
    judged = [each for each in found.disparities if each.tolerated is not None]
    off = list(dict.fromkeys(
        f"{each.metric} by {each.attribute}" for each in judged if each.verdict == "beyond"
    ))  # fmt: skip
    unsure = sum(each.verdict == "unknown" for each in judged)
    if off:
        said += f" Beyond what is tolerated: {', '.join(off)}."
    if unsure:
        said += f" Unknown: {unsure} of {len(judged)} comparisons that have a tolerance."
    if judged and not off and not unsure:
        one = len(judged) == 1
        all_of = "the one comparison" if one else f"all {len(judged)} comparisons"
        has = "that has a tolerance is" if one else "that have a tolerance are"
        said += f" Over all these rows together {all_of} {has} within it."
    if not judged:
        said += " Nothing was judged, so that this page does not say that groups are treated alike."
    return said


def _groups(found: Sequence[GroupFigures]) -> str:
    names = list(found[0].figures)
    heads = ["group", "rows", "with label", "coverage", *(each.replace("_", " ") for each in names)]
    return table(
        heads,
        [
            [
                name(each.group),
                HIDDEN if each.rows is None else str(each.rows),
                HIDDEN if each.labelled is None else str(each.labelled),
                HIDDEN if each.coverage is None else f"{each.coverage:.1%}",
                *(number(each.figures[figure], HIDDEN) for figure in names),
            ]
            for each in found
        ],
    )


def _pairs(found: Sequence[Disparity]) -> list[str]:
    if not found:
        return [paragraph("There is nothing to compare.", "unsure")]
    judged = [each for each in found if each.tolerated is not None]
    others = [each for each in found if each.tolerated is None]
    parts = _table(sorted(judged, key=lambda each: _RANK[each.verdict])) if judged else []
    if others:
        what = f"{len(others)} comparisons for which no tolerance is set"
        parts += [f"<details{'' if judged else ' open'}><summary>{what}</summary>"]
        parts += [*_table(others), "</details>"]
    return parts


def _table(found: Sequence[Disparity]) -> list[str]:
    rows = [
        [
            Text(each.metric), name(f"{each.first} / {each.second}"),
            f"{number(each.first_value)} / {number(each.second_value)}", number(each.value),
            between(each.low, each.high), number(each.tolerated),
            verdict(
                each.verdict, each.reason, "beyond what is tolerated", "within tolerance",
                asked=each.tolerated is not None,
            ),
        ]
        for each in found[:MOST_PAIRS]
    ]  # fmt: skip
    parts = [table(_HEADS, rows)]
    if len(found) > MOST_PAIRS:
        parts.append(paragraph(f"{len(found) - MOST_PAIRS} more are in the JSON.", "dim"))
    return parts


def _frame(found: Mapping[str, Mapping[str, float]] | None) -> str:
    if found is None:
        return paragraph(
            "fairlearn is not installed here: `pip install 'vigil[fairlearn]'`.", "dim"
        )
    if not found:
        return paragraph("There is nothing to compare: no labelled rows of two groups.", "unsure")
    rows = [
        [name(attribute), Text(metric), number(value)]
        for attribute, figures in found.items()
        for metric, value in figures.items()
    ]
    return table(["attribute", "MetricFrame over labelled rows of groups shown", "value"], rows)
