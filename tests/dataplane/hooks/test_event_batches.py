"""Columns for the prediction log, joined over batches."""

from __future__ import annotations

import numpy as np
import pytest

from serving.channel.messages.observation import RequestColumns
from serving.dataplane.hooks.event_batches import EventBatch, LogColumns, joined_columns


def batch(number: int, count: int, sparse: dict[int, str]) -> EventBatch:
    given = {at: f"{text}{number}" for at, text in sparse.items()}
    decisions = {at: [(text, 0, 1)] for at, text in given.items()}
    requests = RequestColumns(
        list(range(count)),
        [float(number)] * count,
        [number + 0.5] * count,
        given,
        decisions,
        dict(given),
        dict(given),
        dict(given),
        list(given),
    )
    log = LogColumns(bytes([number]) * 16, number, 2 * number, requests)
    ids = [f"{number}-{at}" for at in range(count)]
    return EventBatch(float(number), ids, [1] * count, {}, {}, None, log)


@pytest.mark.parametrize("seed", range(10))
def test_what_is_sparse_moves_with_its_request(seed: int) -> None:
    rng = np.random.default_rng(seed)
    batches = []
    expected: dict[int, str] = {}
    first = 0
    for number in range(1, int(rng.integers(2, 6))):
        count = int(rng.integers(1, 5))
        sparse = {at: "t" for at in range(count) if rng.random() < 0.4}
        batches.append(batch(number, count, sparse))
        expected.update({first + at: f"t{number}" for at in sparse})
        first += count
    of_batches, requests = joined_columns(batches)
    assert of_batches is not None
    assert requests is not None
    assert of_batches.ids == b"".join(bytes([n]) * 16 for n in range(1, len(batches) + 1))
    assert of_batches.requests == [len(one.ids) for one in batches]
    assert of_batches.times == [one.timestamp for one in batches]
    assert of_batches.compute_ns == list(range(1, len(batches) + 1))
    assert of_batches.guards_ns == [2 * n for n in range(1, len(batches) + 1)]
    assert len(requests.first_rows) == len(requests.queue_s) == len(requests.total_s) == first
    for sparse_column in (requests.outcomes, requests.arms, requests.traces, requests.principals):
        assert sparse_column == expected
    assert requests.decisions == {at: [(text, 0, 1)] for at, text in expected.items()}
    assert requests.told_elsewhere == sorted(expected)


def test_without_a_log_there_are_none() -> None:
    plain = EventBatch(0.0, ["a"], [1], {}, {})
    assert joined_columns([plain, plain]) == (None, None)
