import asyncio
import time
from types import SimpleNamespace

import numpy as np
import pytest

from guards.decisions import Action
from serving.channel.messages.inference import BatchResult, GuardResult, ResultMeta
from serving.dataplane.batching.batch import Batch
from serving.dataplane.hooks.observer import ModelObserver
from serving.dataplane.hooks.statistics import BatchStatistics
from serving.dataplane.requests.pending import Pending
from serving.errors import GuardRejected
from serving.telemetry.counters import SeriesSet


@pytest.fixture
def bench():
    """An observer of a model with both guards, its series, and what it publishes."""
    series, published = SeriesSet(), []
    publisher = SimpleNamespace(publish=lambda *event: published.append(event))
    observer = ModelObserver(
        "m", "1", series, publisher, ("schema", "mahalanobis"), {"y": "FP32"}, BatchStatistics()
    )
    return SimpleNamespace(observer=observer, series=series, published=published)


def values(series, name, attribute):
    return {
        dict(one.attributes)[attribute]: one.value
        for one in series.snapshot()
        if one.name == name and one.value
    }


def counts(series, name):
    return {
        dict(one.attributes)["guard"]: sum(one.counts)
        for one in series.snapshot()
        if one.name == name
    }


def make_batch(rows):
    loop = asyncio.get_running_loop()
    items, first = [], 0
    for number, n in enumerate(rows):
        x = np.arange(first, first + n, dtype=np.float32).reshape(n, 1)
        bound = SimpleNamespace(rows=n, arrays=(x,), sensitive=None)
        items.append(Pending(f"r{number}", bound, loop.create_future(), time.monotonic()))
        first += n
    return Batch(("x",), items, time.monotonic())


@pytest.mark.parametrize("seed", range(20))
async def test_publishes_all_but_what_a_guard_of_the_model_refused(bench, seed):
    rng = np.random.default_rng(seed)
    batch = make_batch(rng.integers(1, 4, size=6).tolist())
    worst = Action.REJECT if seed % 2 else Action.FLAG
    told = [(row, int(rng.integers(1, worst + 1)), "why") for row in range(batch.total)]
    told = [told[row] for row in sorted(rng.choice(batch.total, size=4, replace=False))]
    result = GuardResult("mahalanobis", tuple(told))
    owner = np.repeat(np.arange(6), batch.rows)
    refused = {int(owner[row]) for row, action, _ in told if action == Action.REJECT}
    for at, item in enumerate(batch.items):
        if at in refused:
            item.fail(GuardRejected("why"))
            item.future.exception()
        else:
            item.answer({})
    outputs = {"y": np.arange(batch.total, dtype=np.float32)}
    bench.observer.answered(
        batch, batch, BatchResult(outputs, ResultMeta({}, (result,), 1000, 500))
    )
    kept = [at for at in range(6) if at not in refused]
    if kept:
        [(_, _, _, ids, rows, inputs, told_outputs, sensitive, _)] = bench.published
        assert ids == [f"r{at}" for at in kept]
        assert list(rows) == [batch.rows[at] for at in kept]
        expected = np.flatnonzero(np.isin(owner, kept))
        assert told_outputs["y"].tolist() == inputs["x"].ravel().tolist() == expected.tolist()
        assert sensitive is None
    else:
        assert not bench.published
    seen = values(bench.series, "vigil.guard.decisions", "action")
    by_name = [Action(action).name.lower() for _, action, _ in told]
    assert seen == {name: by_name.count(name) for name in set(by_name)}


async def test_guards_count_wherever_they_ran(bench):
    batch = make_batch([1])
    batch.items[0].answer({})
    ran = GuardResult("mahalanobis", (), 300)
    result = BatchResult({"y": np.zeros(1, np.float32)}, ResultMeta({}, (ran,), 1000, 500))
    bench.observer.guards_judged((GuardResult("schema", (), 200),))
    bench.observer.answered(batch, batch, result)
    bench.observer.answered(batch, batch, result)
    assert counts(bench.series, "vigil.guard.duration") == {"schema": 1, "mahalanobis": 2}
