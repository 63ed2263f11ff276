"""The report of performance as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence

from serving.backtest.chart import Axis, line
from serving.backtest.document import document
from serving.reports.charts import bars, calibration
from serving.reports.performance import Measurement, Performance
from serving.reports.tables import (
    ALL_LABELS,
    INDEPENDENT,
    NONE,
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


def performance_page(title: str, about: str, notes: Sequence[str], found: Performance) -> str:
    """Return the page.

    Args:
        title: plain text.
        about: what rows it is about, one sentence.
        notes: what they lack, one sentence each.
        found: what is known.
    """
    points = [each.time for figure in found.over_time for each in figure.points]
    parts = [
        heading(title),
        paragraph(about),
        paragraph(headline(found)),
        items(notes),
        "<h2>All labelled rows</h2>",
        _measurements(found.overall),
        paragraph(f"{INDEPENDENT} {ALL_LABELS}", "dim"),
        "<h2>Over time</h2>",
        paragraph(
            "Each point is of as many labelled rows as the others, with its interval of 95 %. The "
            "dashed line is the threshold; a red dot lies beyond it with its whole interval.",
            "dim",
        ),
    ]
    axis = Axis(min(points), max(points))
    for figure in sorted(found.over_time, key=lambda each: each.threshold is None):
        if any(each.value is not None for each in figure.points):
            parts += [f"<h3>{figure.metric}</h3>", line(figure, axis)]
    parts += _confusion(found)
    if found.calibration:
        what = "What was true by what was answered"
        parts += [
            f"<h2>{what}</h2>",
            paragraph(
                "On the dashed line answers are as high as the truth on average; bars are "
                "intervals of 95 %.",
                "dim",
            ),
            calibration(found.calibration, found.calibration_of),
        ]
    if found.residuals:
        parts += ["<h2>Errors: answer minus truth</h2>", bars(found.residuals)]
    if found.parts:
        parts += ["<h2>By declared category</h2>", _measurements(found.parts)]
    return document(title, parts, wide=True)


def headline(found: Performance) -> str:
    """Say how many rows have a label, and which metrics are beyond their thresholds."""
    share = found.labelled / max(found.rows, 1)
    said = f"{found.labelled} of {found.rows} rows have a label ({share:.1%})."
    judged = [each for each in found.overall if each.threshold is not None]
    off = [each.metric for each in judged if each.verdict == "beyond"]
    unsure = [each.metric for each in judged if each.verdict == "unknown"]
    if off:
        said += f" Beyond its threshold: {', '.join(off)}."
    if unsure:
        said += f" Unknown: {', '.join(unsure)}."
    if judged and not off and not unsure:
        said += " All thresholds are kept."
    if not judged:
        said += " No threshold is set, so that there is no verdict."
    return said


def _measurements(found: Sequence[Measurement]) -> str:
    with_part = any(each.part for each in found)
    heads = ["metric", "value", "interval of 95 %", "threshold", "rows", "verdict"]
    rows = [
        [
            Text(each.metric), number(each.value), between(each.low, each.high),
            number(each.threshold), str(each.rows),
            verdict(
                each.verdict, each.reason, "beyond the threshold", "within the threshold",
                asked=each.threshold is not None,
            ),
        ]
        for each in found
    ]  # fmt: skip
    if with_part:
        heads.insert(0, "rows where")
        rows = [[name(each.part), *row] for each, row in zip(found, rows, strict=True)]
    return table(heads, rows)


def _confusion(found: Performance) -> list[str]:
    if not found.confusion:
        return []
    heads = ["true class", *(f"answered {each}" for each in found.classes), "recall"]
    rows = [
        [name(who), *map(str, counts), f"{counts[at] / sum(counts):.1%}" if sum(counts) else NONE]
        for at, (who, counts) in enumerate(zip(found.classes, found.confusion, strict=True))
    ]
    return ["<h2>Confusion matrix</h2>", table(heads, rows)]
