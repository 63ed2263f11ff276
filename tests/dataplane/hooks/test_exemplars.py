"""Exemplars are of traced requests, each in the bucket that counts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from serving.dataplane.context import RequestContext
from serving.dataplane.hooks.exemplars import Exemplars
from serving.dataplane.hooks.metrics import Metrics
from serving.dataplane.hooks.records import Failure
from serving.telemetry.counters import SeriesSet
from serving.telemetry.outcomes import OUTCOME_FAILED
from serving.telemetry.trace_context import RequestSpan

Make = Callable[..., Any]
FAILED = Failure("ModelFailed", OUTCOME_FAILED, 500, "no")


def context(trace: int) -> RequestContext:
    return RequestContext(span=RequestSpan(trace, trace + 10))


class Told:
    def __init__(self) -> None:
        self.series = SeriesSet()
        self.metrics = Metrics(self.series, "m", "1")
        self.exemplars = Exemplars(self.metrics)

    def batch(self, done: Any) -> None:
        for hook in (self.metrics, self.exemplars):
            hook.batch_done(done)

    def found(self) -> dict[str, list[int]]:
        """Traces by metric and outcome; each exemplar is in a bucket that counts something."""
        found: dict[str, list[int]] = {}
        for each in self.series.snapshot():
            for exemplar in each.exemplars:
                assert each.counts[exemplar.bucket]
                lower, upper = (0.0, *each.bounds)[exemplar.bucket], each.bounds[exemplar.bucket]
                assert lower < exemplar.value <= upper
                outcome = dict(each.attributes).get("outcome", "")
                found.setdefault(f"{each.name} {outcome}".strip(), []).append(
                    int(exemplar.trace, 16)
                )
                assert int(exemplar.span, 16) == int(exemplar.trace, 16) + 10
        return found


def test_the_traced_requests_of_a_batch_are_shown(make_request: Make, make_done: Make) -> None:
    told = Told()
    told.batch(make_done(make_request(), make_request(row=1, output_row=1)))
    assert told.found() == {}
    told.batch(
        make_done(
            make_request(),
            make_request(row=1, output_row=1, context=context(7)),
            make_request(row=2, output_row=-1, failure=FAILED, context=context(8)),
            make_request(row=3, output_row=2, refused=True, context=context(9)),
        )
    )
    assert told.found() == {
        "vigil.inference.queue.duration": [9],  # they waited alike: the newest stands for all
        "vigil.inference.compute.duration": [9],
        "vigil.inference.duration ok": [7],
        "vigil.inference.duration failed": [8],
    }


@pytest.mark.parametrize("more", [{"rows": 0, "output_rows": 0}, {"split": True}])
def test_what_is_no_batch_shows_no_computation(
    make_request: Make, make_done: Make, more: dict[str, Any]
) -> None:
    told = Told()
    told.batch(make_done(make_request(context=context(7)), **more))
    shown = {"vigil.inference.duration ok": [7]}
    if "split" in more:
        shown["vigil.inference.queue.duration"] = [7]
    assert told.found() == shown


def test_a_refused_request_is_shown_if_it_is_traced(make_refused: Make) -> None:
    told = Told()
    for refused in (make_refused(), make_refused(context=context(7))):
        told.metrics.request_refused(refused)
        told.exemplars.request_refused(refused)
    assert told.found() == {"vigil.inference.duration overloaded": [7]}
