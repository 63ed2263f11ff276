"""What of a model's requests its objectives concern, and what was good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.config import Slo
from serving.dataplane.hooks.objectives import Objectives
from serving.dataplane.hooks.records import Failure
from serving.telemetry import outcomes
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.inference import SLO_GOOD, SLO_TOTAL

Make = Callable[..., Any]
PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
OUTCOMES = {value for name, value in vars(outcomes).items() if name.startswith("OUTCOME_")}


class Counted:
    def __init__(self, **slo: Any) -> None:
        self.series = SeriesSet()
        self.hook = Objectives(self.series, "m", "1", Slo(**slo))

    def __call__(self) -> tuple[float, float]:
        good = self.series.sum(SLO_GOOD, model="m", version="1")
        return good.value, self.series.sum(SLO_TOTAL, model="m", version="1").value


def failure(outcome: str) -> Failure:
    return Failure("Error", outcome, 500, "no")


def test_an_answer_is_good_if_it_came_in_time(make_request: Make, make_done: Make) -> None:
    counted, any_time = Counted(latency_ms=500), Counted()
    assert counted() == (0, 0)  # both series exist before the first request
    done = make_done(
        make_request(arrived=8.5),
        make_request(row=1, output_row=1, arrived=8.49),
        make_request(row=2, output_row=2, arrived=8.75),
        answered=9.0,
    )
    for each in (counted, any_time):
        each.hook.batch_done(done)
    assert counted() == (2, 3)
    assert any_time() == (3, 3)


def test_who_is_told_of_otherwise_is_counted_once(
    make_request: Make, make_done: Make, make_refused: Make
) -> None:
    counted = Counted()
    late = make_request(outcome=outcomes.OUTCOME_DEADLINE, refused=True)
    counted.hook.batch_done(make_done(late))
    assert counted() == (0, 0)
    counted.hook.request_refused(make_refused(failure(outcomes.OUTCOME_DEADLINE)))
    assert counted() == (0, 1)
    # A request in parts is one, and so is one without rows.
    counted.hook.batch_done(make_done(make_request(), split=True))
    counted.hook.batch_done(make_done(make_request(), rows=0, output_rows=0))
    assert counted() == (2, 3)


def page() -> dict[str, str]:
    """What the documentation says of each outcome."""
    _, _, table = PAGE.read_text(encoding="utf-8").partition("| Outcome |")
    lines = [line.strip("| ").split(" | ") for line in table.partition("\n\n")[0].splitlines()[2:]]
    return {cells[0]: cells[-1] for cells in lines}


@pytest.mark.parametrize("outcome", sorted(OUTCOMES))
def test_each_outcome_counts_as_the_page_says(
    outcome: str, make_request: Make, make_done: Make, make_refused: Make
) -> None:
    said = page()
    assert said.keys() == OUTCOMES
    counted = Counted(latency_ms=1000)
    if outcome == outcomes.OUTCOME_OK:
        counted.hook.batch_done(make_done(make_request(arrived=8.5), answered=9.0))
        assert said[outcome].startswith("counts; good")
        assert counted() == (1, 1)
        return
    failed = make_request(output_row=-1, outcome=outcome, failure=failure(outcome))
    counted.hook.batch_done(make_done(failed))
    counted.hook.request_refused(make_refused(failure(outcome)))
    assert counted() == ((0, 2) if said[outcome] == "counts, not good" else (0, 0))


def test_a_batch_costs_one_call_however_many_requests_it_has(
    make_request: Make, make_done: Make, calls_of: Make
) -> None:
    counted = Counted(latency_ms=1)
    done = make_done(*[make_request(row=row, output_row=row) for row in range(64)])
    assert calls_of(lambda: counted.hook.batch_done(done), also_c=True) == ["batch_done"]
    assert counted() == (0, 64)
