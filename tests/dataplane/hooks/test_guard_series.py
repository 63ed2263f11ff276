"""Metrics of guards: each counts for itself, wherever it ran."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from guards.decisions import Action
from serving.channel.messages.inference import GuardResult
from serving.dataplane.hooks.guard_series import GuardSeries
from serving.telemetry.counters import MOST_LATE, SeriesSet
from serving.telemetry.metric import SCORE_BOUNDS
from serving.telemetry.series import Series

ROWS = ((0, Action.FLAG, "odd"), (3, Action.FLAG, "odd"), (4, Action.REJECT, "very odd"))


@pytest.fixture
def series() -> SeriesSet:
    return SeriesSet()


@pytest.fixture
def guards(series: SeriesSet) -> GuardSeries:
    return GuardSeries(series, ("schema", "mahalanobis"), "m", "1")


def found(series: SeriesSet, name: str, **attributes: str) -> list[Series]:
    wanted = attributes.items()
    return [
        one
        for one in series.snapshot()
        if one.name == name and wanted <= dict(one.attributes).items()
    ]


def values(series: SeriesSet, name: str, label: str, guard: str) -> dict[str, float]:
    return {dict(one.attributes)[label]: one.value for one in found(series, name, guard=guard)}


def scores(*given: float) -> bytes:
    return np.array(given, "<f4").tobytes()


def test_every_series_but_that_of_scores_is_there_from_the_start(
    series: SeriesSet, guards: GuardSeries
) -> None:
    for guard in ("schema", "mahalanobis"):
        decisions = values(series, "vigil.guard.decisions", "action", guard)
        assert decisions == {"shadow": 0, "flag": 0, "reject": 0}
        failures = values(series, "vigil.guard.failures", "reason", guard)
        assert failures == {"error": 0, "late": 0, "skipped": 0}
        assert len(found(series, "vigil.guard.duration", guard=guard, model="m", version="1")) == 1
    assert found(series, "vigil.guard.score") == []


def test_each_guard_has_its_own_time(series: SeriesSet, guards: GuardSeries) -> None:
    for _ in range(MOST_LATE + 1):
        guards.judged((GuardResult("schema", (), 1_000), GuardResult("mahalanobis", (), 3_000)))
    told = {
        dict(one.attributes)["guard"]: (sum(one.counts), one.value)
        for one in found(series, "vigil.guard.duration")
    }
    n = MOST_LATE + 1
    assert told == {
        "schema": (n, pytest.approx(n * 1e-6)),
        "mahalanobis": (n, pytest.approx(n * 3e-6)),
    }


def test_decisions_are_counted_by_action(series: SeriesSet, guards: GuardSeries) -> None:
    guards.judged((GuardResult("schema", ROWS, 1), GuardResult("mahalanobis", ROWS[:1], 1)))
    of_schema = values(series, "vigil.guard.decisions", "action", "schema")
    assert of_schema == {"shadow": 0, "flag": 2, "reject": 1}
    of_other = values(series, "vigil.guard.decisions", "action", "mahalanobis")
    assert of_other == {"shadow": 0, "flag": 1, "reject": 0}


@pytest.mark.parametrize("reason", ["error", "late", "skipped"])
def test_failures_are_counted_by_reason(
    series: SeriesSet, guards: GuardSeries, reason: str
) -> None:
    guards.judged((GuardResult("schema", (), 5, reason), GuardResult("mahalanobis", (), 5)))
    failures = values(series, "vigil.guard.failures", "reason", "schema")
    assert failures == {"error": 0, "late": 0, "skipped": 0, reason: 1}
    assert set(values(series, "vigil.guard.failures", "reason", "mahalanobis").values()) == {0}


def test_a_guard_that_was_skipped_took_no_time(series: SeriesSet, guards: GuardSeries) -> None:
    guards.judged((GuardResult("schema", (), 0, "skipped"),))
    assert [sum(one.counts) for one in found(series, "vigil.guard.duration")] == [0, 0]


def test_scores_are_counted_about_the_threshold(series: SeriesSet, guards: GuardSeries) -> None:
    for given in ((0.95, 1.0), (1.05,), (2000.0,)):
        guards.judged((GuardResult("mahalanobis", (), 1, scores=scores(*given)),))
    (told,) = found(series, "vigil.guard.score", guard="mahalanobis", model="m", version="1")
    counted: dict[Any, int] = dict(zip((*SCORE_BOUNDS, "more"), told.counts, strict=True))
    assert {bound: n for bound, n in counted.items() if n} == {1.0: 2, 1.1: 1, "more": 1}
    assert 1.0 in SCORE_BOUNDS  # so that the rows above the threshold can be told from the others


def test_scores_are_counted_many_at_once(series: SeriesSet, guards: GuardSeries) -> None:
    one = (GuardResult("mahalanobis", (), 1, scores=scores(0.5)),)
    waiting = []
    for _ in range(MOST_LATE + 1):
        guards.judged(one)
        waiting.append(len(guards._scores["mahalanobis"].late))
    assert waiting == [*range(1, MOST_LATE), 0, 1]
    (told,) = found(series, "vigil.guard.score")
    assert sum(told.counts) == MOST_LATE + 1
