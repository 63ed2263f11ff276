"""Rows that are not finite are counted once per output."""

from collections.abc import Callable
from typing import Any

import numpy as np

from serving.dataplane.hooks.output_quality import OutputQuality
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.findings import QUALITY_VIOLATIONS

Make = Callable[..., Any]


def test_rows_with_nan_and_infinity_are_counted_where_they_were_computed(
    make_request: Make, make_done: Make
) -> None:
    series = SeriesSet()
    quality = OutputQuality(series, "m", "1", {"y": "FP32", "label": "INT64"})
    x = [[np.nan, np.inf], [1.0, 2.0], [-np.inf, 0.0]]
    quality.batch_done(make_done(make_request(x=x)))
    quality.batch_done(make_done(make_request(x=x), split=True))  # counted with its parts
    quality.batch_done(make_done(make_request(output_row=-1)))  # everything failed
    found = {dict(s.attributes)["output"]: s.value for s in series.snapshot()}
    assert found == {"y": 2}
    assert {s.name for s in series.snapshot()} == {QUALITY_VIOLATIONS.name}
