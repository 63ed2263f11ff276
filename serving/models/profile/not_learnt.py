"""What reference rows cannot teach, in a sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from monitors.reference.numeric_column import NumericColumn, tail_share
from monitors.reference.profile import Column, ReferenceProfile
from monitors.reference.row_codes import MOST_PAIRED
from monitors.reference.text_column import TextColumn
from serving.config import ModelConfig
from serving.models.profile.dataset import Dataset

GROUP_ROWS: Final = 100
"""Rows of a group below which nothing is said about it."""
MOST_NAMED: Final = 5
"""Columns that a sentence names."""


def not_learnt(profile: ReferenceProfile, *, ordered: bool) -> Iterator[str]:
    """Yield what a profile cannot say.

    Args:
        profile: of the inputs.
        ordered: whether the rows had times.
    """
    if not ordered:
        yield (
            "how much windows vary by nature: the rows have no times, so that is learnt from the "
            "stream in its first weeks; name their column with --time"
        )
    elif not profile.cells:
        yield f"how much windows vary by nature: {profile.n} rows are too few to be cut in windows"
    if not tail_share(profile.n):
        yield f"tails: {profile.n} rows are too few, 200 are needed"
    numeric = [name for name, each in profile.columns.items() if isinstance(each, NumericColumn)]
    if len(numeric) > MOST_PAIRED:
        yield (
            f"pairs of columns: {len(numeric)} numeric columns are more than {MOST_PAIRED}, so "
            f"each is watched by itself"
        )
    for says, applies in _OF_COLUMNS:
        found = [name for name, column in profile.columns.items() if applies(column)]
        if found:
            yield f"{_named(found)}: {says}"


def not_learnt_of_rows(dataset: Dataset, config: ModelConfig) -> Iterator[str]:
    """Yield what rows cannot say about labels and groups; no group is named."""
    if dataset.y_true is None and config.label_kind is not None:
        yield "labels: the rows have none; name their column with --label"
    elif dataset.y_true is not None and len(set(dataset.y_true[dataset.labelled].tolist())) == 1:
        yield "labels: all rows have the same one"
    for name in config.fairness.sensitive if config.fairness else []:
        if name not in dataset.sensitive:
            yield f"fairness: the rows have no column '{name}'"
    for name, values in dataset.sensitive.items():
        groups = Counter(each for each in values.tolist() if each is not None)
        few = sum(rows < GROUP_ROWS for rows in groups.values())
        if len(groups) < 2:
            yield f"fairness: all rows have the same '{name}'"
        elif few:
            yield (
                f"fairness: {few} of {len(groups)} groups of '{name}' have fewer than "
                f"{GROUP_ROWS} rows"
            )


def _named(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"column {', '.join(repr(name) for name in names[:MOST_NAMED])}{more}"


def _empty(column: Column) -> bool:
    return not isinstance(column, TextColumn) and not column.counts[:-1].any()


def _constant(column: Column) -> bool:
    return isinstance(column, NumericColumn) and int((column.counts[:-1] > 0).sum()) == 1


def _text(column: Column) -> bool:
    return isinstance(column, TextColumn)


_OF_COLUMNS: Final[tuple[tuple[str, Callable[[Column], bool]], ...]] = (
    ("no row has a value, so only its share of missing values is watched", _empty),
    ("has one value only, so another one is all that can be seen", _constant),
    ("has no frequent values, so its length and its unseen words are watched", _text),
)
