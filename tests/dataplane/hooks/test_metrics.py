"""Requests and batches are counted by how they ended, also those that are counted late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from serving.dataplane.hooks.metrics import Metrics
from serving.dataplane.hooks.records import Failure
from serving.telemetry.counters import MOST_LATE, SeriesSet
from serving.telemetry.metrics.inference import (
    BATCH_ROWS,
    INFERENCE_COMPUTE_DURATION,
    INFERENCE_DURATION,
    INFERENCE_QUEUE_DURATION,
    INFERENCE_REQUESTS,
    INFERENCE_ROWS,
    REJECTED,
)
from serving.telemetry.outcomes import (
    OUTCOME_ABANDONED,
    OUTCOME_DEADLINE,
    OUTCOME_FAILED,
    OUTCOME_OK,
)

Make = Callable[..., Any]
FAILED = Failure("ModelFailed", OUTCOME_FAILED, 500, "no")
GONE = Failure("ClientGone", OUTCOME_ABANDONED, 499, "gone")


def counted(series: SeriesSet, metric: Any, attribute: str) -> dict[str, float]:
    return {
        dict(one.attributes)[attribute]: one.value
        for one in series.snapshot()
        if one.name == metric.name and one.value
    }


def observations(series: SeriesSet, metric: Any) -> int:
    return sum(sum(one.counts) for one in series.snapshot() if one.name == metric.name)


@pytest.mark.parametrize("batches", [1, MOST_LATE, 2 * MOST_LATE + 1])
def test_every_success_is_counted_and_timed(
    batches: int, make_request: Make, make_done: Make
) -> None:
    series = SeriesSet()
    metrics = Metrics(series, "m", "1")
    done = make_done(make_request(arrived=8.0), make_request(row=1, output_row=1, arrived=8.5),
                     answered=9.0)  # fmt: skip
    for _ in range(batches):
        metrics.batch_done(done)
    attributes = {"model": "m", "version": "1", "outcome": OUTCOME_OK}
    duration = series.histogram(INFERENCE_DURATION, **attributes)
    assert len(duration.late) < MOST_LATE  # or an instance that nobody watches would grow
    assert sum(duration.snapshot().counts) == 2 * batches
    assert duration.snapshot().value == 1.5 * batches
    assert series.sum(INFERENCE_REQUESTS, **attributes).value == 2 * batches
    assert series.sum(INFERENCE_ROWS, model="m", version="1").value == 2 * batches


def test_requests_count_by_their_own_outcome_and_once(
    make_request: Make, make_done: Make, make_refused: Make
) -> None:
    series = SeriesSet()
    metrics = Metrics(series, "m", "1")
    metrics.batch_done(
        make_done(
            make_request(),
            make_request(row=1, output_row=-1, outcome=OUTCOME_FAILED, failure=FAILED),
            make_request(row=2, output_row=1, outcome=OUTCOME_DEADLINE, refused=True),
        )
    )
    assert counted(series, INFERENCE_REQUESTS, "outcome") == {"ok": 1, "failed": 1}
    metrics.request_refused(make_refused())
    metrics.request_refused(make_refused(GONE))
    assert counted(series, INFERENCE_REQUESTS, "outcome") == {
        "ok": 1, "failed": 1, "overloaded": 1, "abandoned": 1,
    }  # fmt: skip
    # Nobody has rejected what its client gave up.
    assert counted(series, REJECTED, "reason") == {"ModelFailed": 1, "QueueFull": 1}
    assert observations(series, INFERENCE_QUEUE_DURATION) == 3


def test_a_split_request_and_one_without_rows_are_no_batches(
    make_request: Make, make_done: Make
) -> None:
    series = SeriesSet()
    metrics = Metrics(series, "m", "1")
    metrics.batch_done(make_done(make_request(), split=True))
    assert observations(series, INFERENCE_QUEUE_DURATION) == 1
    metrics.batch_done(make_done(make_request(), rows=0, output_rows=0))
    assert observations(series, INFERENCE_QUEUE_DURATION) == 1
    assert counted(series, INFERENCE_REQUESTS, "outcome") == {"ok": 2}
    for metric in (BATCH_ROWS, INFERENCE_COMPUTE_DURATION):
        assert observations(series, metric) == 0
