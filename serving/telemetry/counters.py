"""Recorders for roles: plain cumulative numbers, cheap enough for the request path.

Recorders of one `SeriesSet` belong to one thread, the role's loop; nothing here locks. They
import nothing beyond numpy, because they run in the lean gateway process.
"""

from __future__ import annotations

from bisect import bisect_left
from math import isfinite
from typing import Final, TypeVar

import numpy as np

from serving.telemetry.exponential import ExponentialCounts
from serving.telemetry.metric import Metric
from serving.telemetry.series import Exemplar, Series
from serving.telemetry.trace_context import SpanIds

Attributes = tuple[tuple[str, str], ...]


class SumSeries:
    """A number that only grows."""

    __slots__ = ("attributes", "metric", "value")

    def __init__(self, metric: Metric, attributes: Attributes = ()) -> None:
        self.metric: Final = metric
        self.attributes: Final = attributes
        self.value = 0.0

    def add(self, amount: float = 1.0) -> None:
        """Add `amount`, which must not be negative."""
        self.value += amount

    def snapshot(self) -> Series:
        """Return the current value."""
        return Series(
            self.metric.name, self.metric.kind, self.metric.unit, self.attributes, self.value
        )


class GaugeSeries:
    """A current value."""

    __slots__ = ("attributes", "metric", "value")

    def __init__(self, metric: Metric, attributes: Attributes = ()) -> None:
        self.metric: Final = metric
        self.attributes: Final = attributes
        self.value = 0.0

    def set(self, value: float) -> None:
        """Replace the value."""
        self.value = float(value)

    def snapshot(self) -> Series:
        """Return the current value."""
        return Series(
            self.metric.name, self.metric.kind, self.metric.unit, self.attributes, self.value
        )


class HistogramSeries:
    """Counts in fixed buckets; a value that equals a bound belongs to the bucket below it.

    Values that are not finite are left out: one of them would spoil the sum for ever.

    Attributes:
        late: values that are counted when somebody looks, or when there are `MOST_LATE`. Whoever
            has one for every request appends it here, which costs less than a call, and calls
            `count_late` once there are so many.
    """

    __slots__ = (
        "_bounds", "_counts", "_edges", "_exemplars", "_exponential", "_sum", "attributes", "late",
        "metric",
    )  # fmt: skip

    def __init__(self, metric: Metric, attributes: Attributes = ()) -> None:
        self.metric: Final = metric
        self.attributes: Final = attributes
        self._bounds = metric.bounds
        self._edges = np.asarray(metric.bounds, np.float64)
        self._counts = [0] * (len(metric.bounds) + 1)
        self._sum = 0.0
        self._exemplars: dict[int, Exemplar] = {}
        self._exponential = ExponentialCounts() if metric.exponential else None
        self.late: list[float] = []

    def record(self, value: float) -> None:
        """Count one value."""
        if isfinite(value):
            self._counts[bisect_left(self._bounds, value)] += 1
            self._sum += value
            if self._exponential is not None:
                self._exponential.add(value)

    def record_many(self, values: np.ndarray) -> None:
        """Count every element of a numeric array."""
        flat = np.asarray(values, np.float64).ravel()
        flat = flat[np.isfinite(flat)]
        places = np.searchsorted(self._edges, flat, side="left")
        added = np.bincount(places, minlength=len(self._counts)).tolist()
        self._counts = [old + new for old, new in zip(self._counts, added, strict=True)]
        self._sum += float(flat.sum())
        if self._exponential is not None:
            self._exponential.add_many(flat)

    def exemplify(self, value: float, span: SpanIds, time: float) -> None:
        """Let a value that is recorded, now or soon, stand for its bucket: it is the newest.

        Args:
            value: as it is recorded.
            span: of the request.
            time: seconds since the epoch.
        """
        if isfinite(value):
            bucket = bisect_left(self._bounds, value)
            self._exemplars[bucket] = Exemplar(
                bucket, value, f"{span.trace:032x}", f"{span.span:016x}", time
            )

    def count_late(self) -> None:
        """Count what is in `late`: for a few values `record_many` costs more than they do."""
        self.record_many(np.array(self.late))
        self.late.clear()

    def snapshot(self) -> Series:
        """Return the current counts."""
        if self.late:
            self.count_late()
        metric, exponential = self.metric, self._exponential
        return Series(
            metric.name,
            metric.kind,
            metric.unit,
            self.attributes,
            self._sum,
            self._bounds,
            tuple(self._counts),
            tuple(self._exemplars.values()),
            () if exponential is None else exponential.buckets(),
            0 if exponential is None else exponential.zeros,
        )


Recorder = SumSeries | GaugeSeries | HistogramSeries
MOST_LATE: Final = 512
RecorderT = TypeVar("RecorderT", SumSeries, GaugeSeries, HistogramSeries)


class SeriesSet:
    """The recorders of one process. Asking twice for the same series gives the same recorder.

    Keep the recorder where it is used: finding it here costs more than recording. Attribute
    values must come from the model registry or from a closed set, never from a client.
    """

    def __init__(self) -> None:
        self._recorders: dict[tuple[str, Attributes], Recorder] = {}

    def sum(self, metric: Metric, /, **attributes: str) -> SumSeries:
        """Return the recorder of a `sum` metric with these attributes."""
        return self._get(SumSeries, "sum", metric, attributes)

    def gauge(self, metric: Metric, /, **attributes: str) -> GaugeSeries:
        """Return the recorder of a `gauge` metric with these attributes."""
        return self._get(GaugeSeries, "gauge", metric, attributes)

    def histogram(self, metric: Metric, /, **attributes: str) -> HistogramSeries:
        """Return the recorder of a `histogram` metric with these attributes."""
        return self._get(HistogramSeries, "histogram", metric, attributes)

    def drop_gauges(self, **attributes: str) -> None:
        """Forget the gauges with these attributes: what they are about is gone.

        Sums and histograms outlive what they counted.
        """
        gone = set(attributes.items())
        for key, recorder in list(self._recorders.items()):
            if isinstance(recorder, GaugeSeries) and gone <= set(recorder.attributes):
                del self._recorders[key]

    def drop(self, gauge: GaugeSeries) -> None:
        """End a gauge whose value is not known any more; cumulative series never end."""
        self._recorders.pop((gauge.metric.name, gauge.attributes), None)

    def sums(self, metric: Metric) -> list[SumSeries]:
        """Return the recorders of a `sum` metric, with whatever attributes."""
        return [
            recorder
            for recorder in self._recorders.values()
            if recorder.metric is metric and isinstance(recorder, SumSeries)
        ]

    def snapshot(self) -> tuple[Series, ...]:
        """Return every series as it stands now."""
        return tuple(recorder.snapshot() for recorder in self._recorders.values())

    def _get(
        self, recorder: type[RecorderT], kind: str, metric: Metric, attributes: dict[str, str]
    ) -> RecorderT:
        if metric.kind != kind:
            raise ValueError(f"{metric.name} is a {metric.kind}, not a {kind}")
        pairs = tuple(sorted(attributes.items()))
        known = self._recorders.get((metric.name, pairs))
        if known is None:
            if not attributes.keys() <= set(metric.labels):
                extra = ", ".join(sorted(attributes.keys() - set(metric.labels)))
                raise ValueError(f"{metric.name} declares no attribute {extra}")
            known = self._recorders[metric.name, pairs] = recorder(metric, pairs)
        assert isinstance(known, recorder)
        return known
