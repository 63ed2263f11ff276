"""Single events of queue and guards, counted."""

from guards.decisions import Action
from serving.channel.messages.inference import GuardResult
from serving.dataplane.hooks.event_counters import EventCounters
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.inference import (
    ABANDONED_DEADLINE,
    QUERIES_OF_DEATH,
    QUEUE_ROWS_ABANDONED,
)


def test_each_is_counted_under_its_attributes() -> None:
    series = SeriesSet()
    counters = EventCounters(series, "m", "1", ("schema", "mahalanobis"))
    rows = ((0, Action.FLAG, ""), (1, Action.FLAG, ""), (1, Action.REJECT, "no"))
    counters.guards.judged([GuardResult("mahalanobis", rows, nanoseconds=200)])
    counters.retried(3)
    counters.deadly()
    counters.abandoned(ABANDONED_DEADLINE, 5)
    found = {
        (one.name, *(v for k, v in one.attributes if k not in ("model", "version"))): one.value
        for one in series.snapshot()
        if one.value
    }
    assert found == {
        ("vigil.guard.duration", "mahalanobis"): 2e-7,
        ("vigil.guard.decisions", "flag", "mahalanobis"): 2,
        ("vigil.guard.decisions", "reject", "mahalanobis"): 1,
        ("vigil.retries",): 3,
        (QUERIES_OF_DEATH.name,): 1,
        (QUEUE_ROWS_ABANDONED.name, "deadline"): 5,
    }
