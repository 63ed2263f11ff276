"""Requests are counted by how they ended, also those that are counted late."""

from __future__ import annotations

import pytest

from serving.dataplane.hooks.request_series import RequestSeries
from serving.telemetry import names
from serving.telemetry.counters import MOST_LATE, SeriesSet


@pytest.mark.parametrize("requests", [1, MOST_LATE, 2 * MOST_LATE + 1])
def test_every_success_is_counted_and_timed(requests: int) -> None:
    series = SeriesSet()
    counted = RequestSeries(series, "m", "1")
    for _ in range(requests):
        counted.succeeded(0.25)
    attributes = {"model": "m", "version": "1", "outcome": names.OUTCOME_OK}
    duration = series.histogram(names.INFERENCE_DURATION, **attributes)
    assert len(duration.late) < MOST_LATE  # or an instance that nobody watches would grow
    assert sum(duration.snapshot().counts) == requests
    assert duration.snapshot().value == requests * 0.25
    assert series.sum(names.INFERENCE_REQUESTS, **attributes).value == requests
