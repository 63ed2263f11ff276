"""Scores by row, from the replica's bytes and from what the gateway's guards noted."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from serving.channel.messages.inference import GuardResult
from serving.dataplane.hooks.guard_scores import (
    add_gateway_scores,
    model_scores,
    note_scores_of_parts,
)
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.batch import Batch
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending, Whole


def pending(rows: int) -> Pending:
    bound = Bound((np.zeros((rows, 1), np.float32),), rows, ((1,),), (), None)
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    return Pending("r", bound, future, 0.0)


def scored(guard: str, scores: np.ndarray) -> GuardResult:
    return GuardResult(guard, (), scores=scores.tobytes())


async def test_scores_of_a_whole_batch_are_not_copied() -> None:
    given = scored("far", np.float32([1, 2, 3]))
    found = model_scores(Batch(("x",), [pending(2), pending(1)], 0.0), (given,), {})
    assert found["far"].tolist() == [1, 2, 3]
    assert found["far"].base is given.scores


@pytest.mark.parametrize("seed", range(10))
async def test_every_row_has_its_own_scores_or_none(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, size=6).tolist()
    items = [pending(size) for size in sizes]
    failed = {at: "no" for at in range(6) if rng.random() < 0.3}
    judged = np.repeat([at not in failed for at in range(6)], sizes)
    beside = rng.random(int(judged.sum())).astype(np.float32)
    here: list[float] = []
    for item, size in zip(items, sizes, strict=True):
        if rng.random() < 0.5:
            own = rng.random(size).astype(np.float32)
            item.scored("here", own)
            here += own.tolist()
        else:
            here += [np.nan] * size
    guards = (scored("far", beside), GuardResult("schema", ()))
    batch = Batch(("x",), items, 0.0)
    found = model_scores(batch, guards, failed)
    add_gateway_scores(found, batch)
    assert found["far"][judged].tolist() == beside.tolist()
    assert np.isnan(found["far"][~judged]).all()
    if not np.isnan(here).all():
        np.testing.assert_array_equal(found["here"], np.float32(here))
    assert all(array.dtype == np.float32 for array in found.values())
    assert not model_scores(batch, guards[1:], failed)


async def test_a_part_that_is_asked_for_again_gives_nothing() -> None:
    whole = Whole(pending(3))
    whole.size = 2
    parts = [pending(2), pending(1)]
    for part, first_row in zip(parts, (0, 2), strict=True):
        part.whole, part.first_row = whole, first_row
    whole.futures = [asyncio.get_running_loop().create_future(), parts[1].future]
    note_scores_of_parts(parts, {"far": np.float32([1, 2, 3])})
    assert whole.item.scores is not None
    np.testing.assert_array_equal(whole.item.scores["far"], np.float32([np.nan, np.nan, 3]))
