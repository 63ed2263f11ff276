"""Faults that are planted into a past become incidents, at the time at which they happened."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from msgspec.structs import replace

from monitors.performance.labels import LabelEvent
from serving.backtest.happenings import Happening, Labelled, Predicted, events, in_order
from serving.backtest.simulation import NO_GUARDS, Backtest
from serving.config import ModelConfig
from serving.control.served_model import config_of
from serving.monitoring.event_decoding import PredictionEvent

DAY = 86_400.0
T0 = 1_767_225_600.0


class Past:
    """Rows that come every half an hour; answers are right with a share that may fall.

    Args:
        days: how long.
        shifted, wrong: from which day on inputs are shifted, and answers are mostly wrong.
        silent, silent_days: from which day on there are no rows, and for how long.
    """

    def __init__(
        self, days=10.0, rows=8000, shifted=99.0, wrong=99.0, silent=99.0, silent_days=1.0, seed=0
    ):
        random = np.random.default_rng(seed)
        when = T0 + np.arange(rows) * (days * DAY / rows) // 1800 * 1800
        day = (when - T0) / DAY
        self.when = when[~((day >= silent) & (day < silent + silent_days))]
        day = (self.when - T0) / DAY
        n = len(self.when)
        self.x = random.normal(size=(n, 2)).astype(np.float32)
        self.x[day >= shifted] += 1.5
        self.answers = random.random(n) < 0.5
        right = random.random(n) < np.where(day >= wrong, 0.5, 0.9)
        self.truth = np.where(right, self.answers, ~self.answers)
        self.rows = self.labels = n
        self.first, self.last = float(self.when[0]), float(self.when[-1])
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[Happening]:
        return in_order(self._predicted(), self._labelled())

    def _predicted(self):
        for start, stop in events(self.when):
            p = np.where(self.answers[start:stop], 0.9, 0.1).astype(np.float32)
            time = float(self.when[stop - 1])
            yield Predicted(time, "1", PredictionEvent(
                time, [f"r{at}" for at in range(start, stop)], np.zeros(stop - start, np.int64),
                {"x": self.x[start:stop]}, {"p": np.stack([1 - p, p], axis=1)}, {},
            ))  # fmt: skip

    def _labelled(self):
        for start, stop in events(self.when):
            time = float(self.when[stop - 1]) + 3600
            yield Labelled(time, [
                LabelEvent(f"r{at}", 0, bool(self.truth[at]), {}, time)
                for at in range(start, stop)
            ])  # fmt: skip


def opened(outcome, monitor):
    return [
        ((each.opened_at - T0) / DAY, each.severity, each.cause)
        for each in outcome.incidents
        if each.monitor == monitor and not each.cause.endswith("/unknown")
    ]


def silences(outcome):
    return [
        (each.cause, (each.opened_at - T0) / DAY)
        for each in outcome.incidents
        if each.cause.endswith("/unknown") and "stale" in each.summary
    ]


@pytest.fixture
def run(served):
    def run(past):
        return Backtest([served], past.first).run(past)

    return run


def test_a_past_without_a_fault_is_quiet(run):
    past = Past()
    past.notes.append("the file lacks a column")
    outcome = run(past)
    assert [each.summary for each in outcome.incidents if each.severity == "page"] == []
    assert opened(outcome, "performance") == []
    assert outcome.rows == 8000
    hours = outcome.figures[0]
    assert sum(point.value for point in hours.points) == 8000
    # That no rows come after the end is no silence; what nobody could judge is told.
    assert silences(outcome) == []
    assert all("stale" not in each.why for each in outcome.unknown)
    assert outcome.notes[0] == "the file lacks a column"
    assert any("fairness of version 1 has no verdict" in each for each in outcome.notes)


def test_that_guards_do_not_run_is_said_once_where_their_rates_would_be_judged(served):
    config = config_of(served).model_dump()
    config["guards"] = [{"name": "schema", "expected_rate": 0.01}]
    guarded = replace(served, config=ModelConfig.model_validate(config).model_dump_json().encode())
    past = Past(days=1.0, rows=200)
    notes = Backtest([guarded], past.first).run(past).notes
    assert [each for each in notes if "guard" in each] == [NO_GUARDS]
    assert NO_GUARDS not in Backtest([served], past.first).run(past).notes


def test_a_drift_is_found_when_it_comes(run):
    [(day, severity, _)] = opened(run(Past(shifted=5.0)), "drift")
    assert 5.0 < day < 5.6
    assert severity == "info"


def test_wrong_answers_are_a_page_when_their_labels_come(run):
    found = opened(run(Past(wrong=5.0)), "performance")
    assert found, "nothing was told"
    day, severity, _ = found[0]
    assert 5.0 < day < 7.0
    assert severity == "page"


def test_silence_is_told(run):
    # What was known is unknown at once, and that is a ticket a day later.
    told = silences(run(Past(silent=4.0, silent_days=3.0)))
    assert {cause for cause, _ in told} >= {"drift/unknown", "performance/unknown"}
    assert all(5.0 < day < 5.2 for _, day in told)
