"""What others are told of guards."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from guards.runner import Failure, Outcome
from serving.channel.messages.inference import GuardResult
from serving.models.guards.report import report_failure, results_of


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome("a", ((1, 3, "why"),), 7, np.array([0.5, 2], np.float32), None),
        Outcome("a", (), 0, None, Failure("skipped")),
        Outcome("a", (), 9, np.empty(0, np.float32), Failure("late", None, 5)),
    ],
)
def test_a_result_comes_through_the_channel_as_it_was(outcome: Outcome) -> None:
    sent = msgspec.msgpack.encode(results_of([outcome])[0])
    told = msgspec.msgpack.decode(sent, type=GuardResult)
    assert (told.guard, told.rows, told.nanoseconds) == outcome[:3]
    assert told.failure == (outcome.failure.reason if outcome.failure else "")
    scores = [] if outcome.scores is None else outcome.scores.tolist()
    assert np.frombuffer(told.scores, "<f4").tolist() == scores


@pytest.mark.parametrize(
    ("failure", "lines"),
    [
        (None, []),
        (Failure("late"), []),
        (Failure("skipped"), []),
        (Failure("error", ValueError("a value")), ["guard 'a' raised ValueError"]),
        (Failure("late", None, 10**9), ["guard 'a' takes longer than its budget_ms"]),
        (Failure("error", ValueError(), 10**9), ["guard 'a' raised", "guard 'a' takes longer"]),
    ],
)
def test_the_log_is_told_of_errors_and_of_the_begin_of_a_pause(
    failure: Any, lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    report_failure(Outcome("a", (), 5_000_000, None, failure), "m", "1", rows=3)
    assert len(caplog.records) == len(lines)
    for record, begin in zip(caplog.records, lines, strict=True):
        assert record.getMessage().startswith(begin)
        assert "a value" not in record.getMessage()
