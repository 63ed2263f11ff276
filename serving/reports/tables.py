"""Tables of reports as HTML; all text is escaped here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

LONGEST: Final = 60
"""Characters of a name that clients have chosen."""
ALL_LABELS: Final = (
    "All labels in the log count, also those that were ordered because a row looked hard; see "
    "`vigil labels wanted`."
)
NONE: Final = "-"
"""Stands where there is no number."""
INDEPENDENT: Final = (
    "Intervals hold for rows that are independent; where rows repeat or follow each other, they "
    "are too narrow."
)


class Text(str):
    """What is written to the left, as words are."""

    __slots__ = ()


class Marked(str):
    """A verdict: written in its colour.

    Attributes:
        mark: the class of the cell.
    """

    __slots__ = ("mark",)
    mark: str

    def __new__(cls, text: str, mark: str) -> Marked:
        """Return the text with its colour."""
        made = super().__new__(cls, text)
        made.mark = mark
        return made


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; words stand to the left, numbers to the right."""
    rows = list(rows)
    first = rows[0] if rows else ()
    words = [
        ' class="text"' if at < len(first) and isinstance(first[at], Text | Marked) else ""
        for at in range(len(heads))
    ]
    head = "".join(
        f"<th{word}>{escape(each)}</th>" for each, word in zip(heads, words, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _cell(value: str) -> str:
    if isinstance(value, Marked):
        return f'<td class="text {value.mark}">{escape(value)}</td>'
    word = ' class="text"' if isinstance(value, Text) else ""
    return f"<td{word}>{escape(value)}</td>"


def number(value: float | None, none: str = NONE) -> str:
    """Return a number in four digits."""
    if value is None or math.isnan(value):
        return none
    return f"{value:.4g}"


def between(low: float | None, high: float | None) -> str:
    """Return an interval."""
    if low is None and high is None:
        return NONE
    return f"{number(low, '-∞')} … {number(high, '∞')}"


def verdict(judged: str, reason: str, beyond: str, within: str, *, asked: bool) -> Marked:
    """Return a verdict; unknown comes with its reason.

    Args:
        judged: `beyond`, `within` or `unknown`.
        reason: why it is unknown.
        beyond, within: what is written in their place.
        asked: whether anybody has said what to judge by.
    """
    if judged == "beyond":
        return Marked(beyond, "bad")
    if judged == "within":
        return Marked(within, "good")
    # What nobody has asked to be judged must not drown what is not known.
    return Marked(f"unknown: {reason}", "unsure" if asked else "dim")


def name(text: str) -> Text:
    """Return a name that clients have chosen, bounded."""
    return Text(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


def heading(text: str, level: int = 1) -> str:
    """Return a heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, mark: str = "") -> str:
    """Return a paragraph."""
    kind = f' class="{mark}"' if mark else ""
    return f"<p{kind}>{escape(text)}</p>"


def items(texts: Iterable[str]) -> str:
    """Return a list; nothing where there is none."""
    lines = "".join(f"<li>{escape(each)}</li>" for each in texts)
    return f"<ul>{lines}</ul>" if lines else ""
