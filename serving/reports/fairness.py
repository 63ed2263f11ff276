"""Whether groups were treated alike: figures by group, and each pair's difference and ratio."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

import numpy as np

from monitors.fairness.comparison import Comparisons, compare, compare_means, worst
from monitors.fairness.counting import probability_gaps
from monitors.fairness.definitions import CALIBRATION, DEFINITIONS, MAE, MEAN_ERROR, Rate
from monitors.fairness.group_bounds import SMALLEST_GROUP
from serving.config import ModelConfig
from serving.reports.disparities import Disparity, Fairness, GroupFigures
from serving.reports.group_counts import RATES, Groups, by_attribute, columns_of
from serving.reports.performance import UNDECIDED, verdict_of
from serving.reports.rows import ReportRows

ALPHA: Final = 0.05
"""Probability that any interval of one metric and attribute is wrong."""
NO_TOLERANCE: Final = "no tolerance is set"
_OF_MEANS: Final = {each.name: each for each in (CALIBRATION, MAE, MEAN_ERROR)}
SUPPRESSED: Final = f"suppressed: fewer than {SMALLEST_GROUP} rows"


def fairness(rows: ReportRows, config: ModelConfig) -> Fairness:
    """Compare the groups of rows by what the configuration says of fairness."""
    section = config.fairness
    assert section is not None
    groups, notes = by_attribute(rows.groups, rows.labelled), []
    columns = _columns(rows, config)
    means = _means(rows, config)
    if CALIBRATION.name not in means and config.label_kind == "classes":
        notes.append("calibration by group is not known: it needs labels and probabilities")
    figures: list[GroupFigures] = []
    found: list[Disparity] = []
    for each in groups:
        figures += _figures(each, columns, means)
        if len(each.names) < 2:
            notes.append(
                f"{each.attribute}: there is nothing to compare, fewer than two groups can be "
                f"shown, which takes {SMALLEST_GROUP} rows"
            )
        found += _disparities(each, columns, means, config)
    notes += [
        f"{name}: no row has a group" for name in section.sensitive if name not in rows.groups
    ]
    return Fairness(
        rows=rows.rows,
        labelled=int(rows.labelled.sum()),
        groups=tuple(figures),
        others={each.attribute: each.others for each in groups if each.others},
        disparities=tuple(found),
        notes=tuple(notes),
    )


_Columns = Mapping[bool, tuple[np.ndarray, int]]


def _columns(rows: ReportRows, config: ModelConfig) -> _Columns:
    """Return what rows count as; none of a model of numbers."""
    section, classes = config.fairness, config.outputs[0].classes or []
    if section is None or section.favorable not in classes or rows.predicted is None:
        return {}
    at = classes.index(section.favorable)
    selected = np.where(rows.predicted >= 0, rows.predicted == at, -1).astype(np.int64)
    favorable = np.full(rows.rows, -1, np.int64)
    if rows.labelled.any():
        favorable[rows.labelled] = rows.labels == at
    return columns_of(selected, favorable)


def _means(rows: ReportRows, config: ModelConfig) -> dict[str, np.ndarray]:
    """Return what is averaged by group, NaN where it is not known; float64 [n] each."""
    if not rows.labelled.any() or rows.predicted is None:
        return {}
    if config.label_kind == "numbers" and rows.predicted.ndim == 1:
        error = np.full(rows.rows, np.nan)
        answers = rows.predicted[rows.labelled].astype(np.float64)
        error[rows.labelled] = answers - rows.labels.astype(np.float64)
        return {MAE.name: np.abs(error), MEAN_ERROR.name: error}
    classes = config.outputs[0].classes or []
    if config.fairness is None or config.fairness.favorable not in classes or rows.scores is None:
        return {}
    at = classes.index(config.fairness.favorable)
    apart = np.full(rows.rows, np.nan)
    apart[rows.labelled] = probability_gaps(rows.scores[rows.labelled], rows.labels == at, at)
    return {} if np.isnan(apart).all() else {CALIBRATION.name: apart}


def _figures(
    groups: Groups, columns: _Columns, means: Mapping[str, np.ndarray]
) -> Iterator[GroupFigures]:
    by_name: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for rate in RATES if columns else ():
        hits, rows = rate.of(groups.counts(*columns[rate.labelled]))
        by_name[rate.name] = hits, rows
    for name, values in means.items():
        total, _, count = groups.sums(values)
        by_name[name] = total, count
    for at, name in enumerate(groups.names):
        few = bool(groups.labelled_hidden[at])
        yield GroupFigures(
            groups.attribute,
            name,
            int(groups.rows[at]),
            None if few else int(groups.labelled[at]),
            None if few else float(groups.labelled[at] / groups.rows[at]),
            {
                figure: float(hits[at] / rows[at]) if rows[at] >= SMALLEST_GROUP else None
                for figure, (hits, rows) in by_name.items()
            },
        )


def _disparities(
    groups: Groups, columns: _Columns, means: Mapping[str, np.ndarray], config: ModelConfig
) -> Iterator[Disparity]:
    for definition in DEFINITIONS if columns else ():
        counts = groups.counts(*columns[definition.labelled])
        pairs = _pairs(groups, counts, definition.figures, config)
        for first, second in pairs:
            alpha = np.array([ALPHA / len(pairs) / len(definition.figures)])
            at = [first, second]
            some = [
                (hits[at], rows[at]) for hits, rows in (r.of(counts) for r in definition.figures)
            ]
            found = [
                compare(hits[None], rows[None], alpha, _min_rows(config)) for hits, rows in some
            ]
            yield from _both(
                groups, definition.name, (first, second), worst(found),
                _leading([hits / np.maximum(rows, 1) for hits, rows in some]), config,
            )  # fmt: skip
    for name, values in means.items():
        total, squares, rows = groups.sums(values)
        # Of these no high or low mean is the best: with `best` all pairs are compared.
        pairs = list(combinations(range(len(groups.names)), 2))
        if config.fairness and config.fairness.reference == "largest":
            pairs = [pair for pair in pairs if 0 in pair]
        for pair in pairs:
            at = list(pair)
            compared = compare_means(
                total[None, at], squares[None, at], rows[None, at],
                np.array([ALPHA / len(pairs)]), _min_rows(config), signed=_OF_MEANS[name].signed,
            )  # fmt: skip
            shown = total[at] / np.maximum(rows[at], 1)
            yield from _both(groups, name, pair, compared, shown, config)


def _pairs(
    groups: Groups, counts: np.ndarray, rates: Sequence[Rate], config: ModelConfig
) -> list[tuple[int, int]]:
    """Return whom the configuration wants to be compared; groups are in the order of their rows."""
    size = len(groups.names)
    section = config.fairness
    assert section is not None
    pairs = list(combinations(range(size), 2))
    if section.reference == "each" or size < 2:
        return pairs
    with_whom = {0}
    if section.reference == "best":
        with_whom = set()
        for rate in rates:
            hits, rows = rate.of(counts)
            share = hits / np.maximum(rows, 1) * (1 if rate.good else -1)
            enough = rows >= _min_rows(config)
            if enough.any():
                with_whom.add(int(np.where(enough, share, -np.inf).argmax()))
    return [pair for pair in pairs if with_whom & set(pair)]


def _both(
    groups: Groups,
    name: str,
    pair: tuple[int, int],
    found: Comparisons,
    values: np.ndarray,
    config: ModelConfig,
) -> Iterator[Disparity]:
    """Return the difference and the ratio of a pair; no ratio of what has a sign."""
    section = config.fairness
    assert section is not None
    tolerances = section.tolerance.model_dump(exclude_none=True)
    order = np.argsort(-values, kind="stable")
    names = [groups.names[pair[at]] for at in order]
    sides = [("difference", "above", found.difference, found.low, found.high)]
    if name not in _OF_MEANS or not _OF_MEANS[name].signed:
        sides.append(("ratio", "below", found.ratio, found.ratio_low, found.ratio_high))
    for kind, direction, *numbers in sides:
        metric = f"{name}_{kind}"
        value, low, high = (_known(each[0]) for each in numbers)
        tolerated = tolerances.get(metric)
        verdict, reason = verdict_of(low, high, tolerated, direction)
        shown = [float(values[at]) for at in order]
        if found.compared[0] < 2:
            verdict, reason, shown = "unknown", SUPPRESSED, [math.nan, math.nan]
        elif low is None and tolerated is not None:
            reason = f"a group has fewer than {_min_rows(config)} rows"
        elif reason and tolerated is None:
            reason = NO_TOLERANCE
        elif reason == UNDECIDED:
            reason = "what is tolerated lies in the interval: more rows would tell"
        yield Disparity(
            groups.attribute, metric, names[0], names[1], shown[0], shown[1], value, low, high,
            tolerated, verdict, reason,
        )  # fmt: skip


def _leading(rates: Sequence[np.ndarray]) -> np.ndarray:
    """Return the two groups' values of the rate in which they are farthest apart."""
    return max(rates, key=lambda two: abs(float(two[0] - two[1])))


def _min_rows(config: ModelConfig) -> int:
    assert config.fairness is not None
    return config.fairness.min_rows


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
