"""Combining the series of many processes into one per name and attributes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from serving.telemetry.exponential import joined, parted
from serving.telemetry.metric import Merge
from serving.telemetry.metrics.declared import METRICS
from serving.telemetry.series import Exemplar, Series

SeriesKey = tuple[str, str, str, tuple[tuple[str, str], ...], tuple[float, ...]]

_UNKNOWN_GAUGE: Final[Merge] = "last"


def series_key(series: Series) -> SeriesKey:
    """Return the identity of a series: only those that agree in all of it can be added.

    Bounds belong to it, so that processes of two releases with other buckets never mix.
    """
    return (series.name, series.kind, series.unit, series.attributes, series.bounds)


def is_cumulative(series: Series) -> bool:
    """Whether the series only grows, and must outlive its process."""
    metric = METRICS.get(series.name)
    return series.kind != "gauge" and (metric is None or metric.outlives)


def went_back(old: Series, new: Series) -> bool:
    """Whether `new` cannot come from the process that reported `old`."""
    if old.kind == "histogram":
        return any(now < before for before, now in zip(old.counts, new.counts, strict=True))
    return new.value < old.value


def less(series: Series, part: Series | None) -> Series:
    """Return what is in a sum or a histogram beside a part of it with the same identity."""
    if part is None:
        return series
    return msgspec.structs.replace(
        series,
        value=max(series.value - part.value, 0.0),
        counts=tuple(max(a - b, 0) for a, b in zip(series.counts, part.counts, strict=True)),
        exponential=parted(series.exponential, part.exponential),
        zeros=max(series.zeros - part.zeros, 0),
    )


def merge(series: Iterable[Series]) -> list[Series]:
    """Combine series with the same identity, sorted by name and attributes.

    Sums and histograms add up; gauges follow `Metric.merge`, unknown ones take the last.
    """
    merged: dict[SeriesKey, Series] = {}
    for item in series:
        key = series_key(item)
        known = merged.get(key)
        merged[key] = item if known is None else _combine(known, item)
    return sorted(merged.values(), key=series_key)


def _combine(first: Series, second: Series) -> Series:
    if first.kind == "histogram":
        counts = tuple(a + b for a, b in zip(first.counts, second.counts, strict=True))
        return msgspec.structs.replace(
            first,
            value=first.value + second.value,
            counts=counts,
            exemplars=_newest(first.exemplars, second.exemplars),
            exponential=joined(first.exponential, second.exponential),
            zeros=first.zeros + second.zeros,
        )
    if first.kind == "gauge":
        metric = METRICS.get(first.name)
        how = metric.merge if metric else _UNKNOWN_GAUGE
        if how == "last":
            return second
        if how in ("min", "max"):
            higher, lower = (first, second) if first.value >= second.value else (second, first)
            return higher if how == "max" else lower
    return msgspec.structs.replace(first, value=first.value + second.value)


def _newest(first: tuple[Exemplar, ...], second: tuple[Exemplar, ...]) -> tuple[Exemplar, ...]:
    """Return the newest exemplar of each bucket."""
    if not (first and second):
        return first or second
    by_age = sorted((*first, *second), key=lambda exemplar: exemplar.time)
    return tuple({exemplar.bucket: exemplar for exemplar in by_age}.values())
