"""What the monitor is told of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serving.dataplane.hooks.events import Events
from serving.dataplane.hooks.records import Failure, RequestDone
from serving.telemetry.outcomes import OUTCOME_DEADLINE, OUTCOME_FAILED, OUTCOME_REJECTED

Make = Callable[..., Any]
REJECTED = Failure("GuardRejected", OUTCOME_REJECTED, 422, "no")
FAILED = Failure("ModelFailed", OUTCOME_FAILED, 500, "no")


class Publisher:
    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def publish(self, *event: Any) -> None:
        self.events.append(event)


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


def numbered(make_request: Make, sizes: list[int], how: list[str]) -> list[RequestDone]:
    """Return requests whose rows bear their number in the batch, each ended in its way."""
    ends: dict[str, dict[str, Any]] = {
        "ok": {},
        "late": {"outcome": OUTCOME_DEADLINE, "refused": True},
        "rejected": {"outcome": OUTCOME_REJECTED, "failure": REJECTED},
        "failed": {"outcome": OUTCOME_FAILED, "failure": FAILED},
        "other": {"upstream": "2"},
    }
    requests, row, output_row = [], 0, 0
    for number, (size, end) in enumerate(zip(sizes, how, strict=True)):
        x = np.arange(row, row + size, dtype=np.float32)[:, None]
        at = -1 if end == "failed" else output_row
        requests.append(make_request(f"r{number}", x, row=row, output_row=at, **ends[end]))
        row += size
        output_row += 0 if end == "failed" else size
    return requests


@pytest.mark.parametrize("seed", range(20))
def test_everything_is_told_but_what_failed_or_was_taken_back(
    publisher: Publisher, make_request: Make, make_done: Make, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, size=6).tolist()
    kinds = ["ok", "late", "rejected", "failed", "other"][: 1 + seed % 5]
    how = rng.choice(kinds, size=6).tolist()
    requests = numbered(make_request, sizes, how)
    Events(publisher, inputs=True).batch_done(make_done(*requests))  # type: ignore[arg-type]
    owner = np.repeat(np.arange(6), sizes)
    for upstream, ends in (("", ("ok", "late")), ("2", ("other",))):
        kept = [at for at in range(6) if how[at] in ends]
        told = [event for event in publisher.events if event[-1] == upstream]
        assert len(told) == bool(kept)
        for model, version, _, ids, rows, inputs, outputs, sensitive, _ in told:
            expected = np.flatnonzero(np.isin(owner, kept))
            assert (model, version) == ("m", "1")
            assert ids == [f"r{at}" for at in kept]
            assert rows == [sizes[at] for at in kept]
            assert inputs["x"].ravel().tolist() == expected.tolist()
            assert outputs["y"].ravel().tolist() == (2 * expected).tolist()
            assert sensitive is None


def test_columns_of_a_whole_batch_are_not_copied_nor_inputs_joined_for_nobody(
    publisher: Publisher, make_request: Make, make_done: Make
) -> None:
    def joined() -> Any:
        raise AssertionError("nobody wants inputs")

    done = make_done(make_request(), inputs=joined)
    Events(publisher, inputs=False).batch_done(done)  # type: ignore[arg-type]
    [(*_, inputs, outputs, _, _)] = publisher.events
    assert inputs == {}
    assert outputs is done.outputs


def test_sensitive_values_stand_beside_their_rows(
    publisher: Publisher, make_request: Make, make_done: Make
) -> None:
    requests = [
        make_request("a", [[0, 0], [0, 0]], sensitive={"sex": np.array(["F", None], object)}),
        make_request("b", row=2, output_row=2),
        make_request("c", row=3, output_row=3, sensitive={"age": np.array(["old"], object)}),
    ]
    Events(publisher, inputs=True).batch_done(make_done(*requests))  # type: ignore[arg-type]
    [(*_, sensitive, _)] = publisher.events
    assert {name: column.tolist() for name, column in sensitive.items()} == {
        "sex": ["F", None, None, None],
        "age": [None, None, None, "old"],
    }


def test_nothing_is_told_of_requests_without_rows(
    publisher: Publisher, make_request: Make, make_done: Make
) -> None:
    empty = make_request(x=np.zeros((0, 2)))
    Events(publisher, inputs=True).batch_done(make_done(empty))  # type: ignore[arg-type]
    assert not publisher.events
