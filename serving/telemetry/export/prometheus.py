"""Prometheus text from aggregated series, named as OpenTelemetry's translation names them.

Dots become underscores; a unit becomes a suffix unless the name already holds it; annotations
(`{row}`) vanish; sums end in `_total`; gauges of unit `1` end in `_ratio`. A collector that
receives the same series by OTLP therefore exposes them under the same names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate, groupby
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as Shown
from prometheus_client.utils import floatToGoString

from serving.telemetry.metrics.declared import METRICS
from serving.telemetry.series import Exemplar, Series

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_SUFFIX_OF: Final = {"s": "seconds", "By": "bytes", "J": "joules"}
_TYPE_OF: Final = {"sum": "counter", "gauge": "gauge", "histogram": "histogram"}
_NOT_ALLOWED: Final = re.compile(r"[^a-zA-Z0-9_]+")


def prometheus_name(name: str, kind: str, unit: str) -> str:
    """Return the metric family's name, without the `_total` that a sum's sample carries."""
    base = _NOT_ALLOWED.sub("_", name).strip("_")
    if kind == "sum":
        base = base.removesuffix("_total")
    suffix = _SUFFIX_OF.get(unit, "")
    if unit == "1" and kind == "gauge":
        suffix = "ratio"
    if suffix and suffix not in base.split("_"):
        base = f"{base}_{suffix}"
    return base


def label_name(name: str) -> str:
    """Return the label of an attribute."""
    return _NOT_ALLOWED.sub("_", name)


def prometheus_text(series: Iterable[Series]) -> bytes:
    """Return the exposition of series that are sorted by name, as `aggregate.merge` gives them."""
    return generate_latest(_Families(series))


def openmetrics_text(series: Iterable[Series]) -> bytes:
    """Return the same in OpenMetrics 1.0, with exemplars."""
    text: bytes = openmetrics.generate_latest(  # type: ignore[no-untyped-call]
        _Families(series, exemplars=True)
    )
    return text


class _Families(Collector):
    def __init__(self, series: Iterable[Series], *, exemplars: bool = False) -> None:
        self._series = series
        self._exemplars = exemplars

    def collect(self) -> Iterator[Metric]:
        for (name, kind, unit), group in groupby(
            self._series, lambda item: (item.name, item.kind, item.unit)
        ):
            known = METRICS.get(name)
            family = prometheus_name(name, kind, unit)
            metric = Metric(family, known.description if known else name, _TYPE_OF[kind])
            for item in group:
                _add(metric, item, item.exemplars if self._exemplars else ())
            yield metric


def _add(metric: Metric, item: Series, exemplars: tuple[Exemplar, ...]) -> None:
    labels = {label_name(key): value for key, value in item.attributes}
    if item.kind == "gauge":
        metric.add_sample(metric.name, labels, item.value)
    elif item.kind == "sum":
        metric.add_sample(f"{metric.name}_total", labels, item.value)
    else:
        bounds = [*map(floatToGoString, item.bounds), "+Inf"]
        shown = {each.bucket: each for each in exemplars}
        for at, (bound, count) in enumerate(zip(bounds, accumulate(item.counts), strict=True)):
            one = _shown(shown[at]) if at in shown else None
            own = {**labels, "le": bound}
            metric.add_sample(f"{metric.name}_bucket", own, count, exemplar=one)
        metric.add_sample(f"{metric.name}_count", labels, sum(item.counts))
        metric.add_sample(f"{metric.name}_sum", labels, item.value)


def _shown(exemplar: Exemplar) -> Shown:
    ids = {"trace_id": exemplar.trace, "span_id": exemplar.span}
    return Shown(ids, exemplar.value, round(exemplar.time, 3))
