"""What the next batch is: its bounds, its company, and that nobody is lost who cannot be joined."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving.dataplane.batching import forming, latency_model
from serving.errors import ModelFailed

Wait = Callable[[Callable[[], object]], Awaitable[None]]
Make = Callable[..., Any]
TIMEOUT = 60


async def get(future: asyncio.Future[Any]) -> list[float]:
    answer = await asyncio.wait_for(future, TIMEOUT)
    return answer.outputs["y"][:, 0].tolist()


class Slow:
    """Makes a link answer after a time that is told, without waiting."""

    def __init__(self, link: Any) -> None:
        self.link = link
        self.seconds = 1.0
        link.result = self._result
        self._plain = type(link).result

    def _result(self, batch: Any, **more: Any) -> Any:
        return self._plain(self.link, batch, compute_ns=int(self.seconds * 1e9), **more)


async def test_a_goal_bounds_the_rows_of_a_batch_until_it_is_lost(
    make_bench: Make, make_link: Make, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    bench, link = make_bench(latency_slo_ms=100), make_link(slots=1)
    bench.batcher.add_link(link)
    slow = Slow(link)
    for rows in (1, 4, 16) * latency_model.SAMPLES:
        slow.seconds = 0.005 * rows  # ten rows take half of the goal
        await get(bench.ask("teach", [1.0] * rows, enqueued=now[0]))
    link.sent.clear()
    futures = [bench.ask(str(n), enqueued=now[0]) for n in range(40)]
    await asyncio.gather(*[get(future) for future in futures])
    assert [len(sent) for sent in link.sent] == [10, 10, 10, 10]
    late = [bench.ask(str(n), enqueued=now[0] - 0.2) for n in range(40)]
    link.sent.clear()
    await asyncio.gather(*[get(future) for future in late])
    assert [len(sent) for sent in link.sent] == [40]


async def test_a_batch_waits_for_company_and_not_for_longer(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    loop = asyncio.get_running_loop()
    bench = make_bench(max_queue_delay_us=500_000, max_batch_size=3)
    link = make_link()
    bench.batcher.add_link(link)
    started = loop.time()
    one = bench.ask("one", enqueued=time.monotonic())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not link.sent
    two = bench.ask("two", enqueued=time.monotonic())
    await asyncio.gather(get(one), get(two))
    assert link.sent == [["one", "two"]]
    assert loop.time() - started >= 0.49
    full = [bench.ask(str(n), enqueued=time.monotonic() + 3600) for n in range(3)]
    await asyncio.gather(*[get(future) for future in full])
    assert len(link.sent) == 2


async def test_a_batch_never_exceeds_its_bytes(
    make_bench: Make, make_link: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forming, "MAX_BATCH_BYTES", 100)  # a row of width 5 has 20 bytes
    bench, link = make_bench(), make_link()
    bench.batcher.add_link(link)
    futures = [bench.ask(str(i), [1.0] * n, width=5) for i, n in enumerate((3, 2, 1, 9, 1))]
    for future in futures:
        await get(future)
    assert link.sent == [["0", "1"], ["2"], ["3"], ["4"]]


async def test_a_batch_that_cannot_be_formed_is_answered(
    make_bench: Make, make_link: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(_items: Any) -> Any:
        raise MemoryError

    bench = make_bench()
    bench.batcher.add_link(make_link())
    with monkeypatch.context() as patch:
        patch.setattr("serving.dataplane.requests.batch.join", no_memory)
        with pytest.raises(ModelFailed):
            await asyncio.wait_for(bench.ask("a"), TIMEOUT)
    assert bench.queue.waiting_rows == 0
    assert await get(bench.ask("b", [1.0])) == [2.0]
