"""What may wait, for how long, and who makes room for whom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
import pytest

from guards.decisions import Decisions
from serving.channel.messages.inference import BatchResult, ResultMeta
from serving.config import Batching, ConfigError, ModelConfig, parse
from serving.dataplane.batching import latency_model
from serving.dataplane.batching.batch_sizing import BatchSizing
from serving.dataplane.queue.request_queue import weigh
from serving.dataplane.requests.bound import Bound
from serving.dataplane.served import row_bytes
from serving.errors import DeadlineExceeded, ModelFailed, PayloadTooLarge, QueueFull

Wait = Callable[[Callable[[], object]], Awaitable[None]]
Make = Callable[..., Any]
TIMEOUT = 60


async def get(future: asyncio.Future[Any]) -> list[float]:
    answer = await asyncio.wait_for(future, TIMEOUT)
    return answer.outputs["y"][:, 0].tolist()


async def busy(bench: Any, link: Any, eventually: Wait) -> None:
    """Let a first request take the only slot."""
    bench.batcher.add_link(link)
    bench.ask("first")
    await eventually(lambda: link.held)


async def work_off(link: Any, futures: Any) -> None:
    link.manual = False
    while link.held:
        link.answer()
    for future in futures:
        await asyncio.wait_for(future, TIMEOUT)


# -- bytes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("row_bytes", [1 << 18, None])
async def test_the_queue_is_bounded_by_bytes(
    make_bench: Make, make_link: Make, eventually: Wait, row_bytes: int | None
) -> None:
    bench = make_bench(row_bytes=row_bytes, max_queue_mib=1)
    link = make_link(manual=True)
    await busy(bench, link, eventually)
    width = (1 << 18) // 4  # 256 KiB a row
    futures = [bench.ask(str(n), width=width) for n in range(4)]
    with pytest.raises(QueueFull):
        bench.ask("fifth", width=width)
    with pytest.raises(PayloadTooLarge):
        bench.ask("never", [1.0] * 5, width=width)
    await work_off(link, futures)
    assert (bench.queue.waiting_rows, bench.queue.waiting_bytes) == (0, 0)
    assert await get(bench.ask("after", [2.0], width=width)) == [4.0]


def test_values_of_bytes_have_a_weight() -> None:
    array = np.array([[b"abc", b""], [b"x" * 100, b"yy"]], object)
    assert weigh(Bound((array,), 2, ((2,),), (), None)) == 105 + 4 * array.itemsize


@pytest.mark.parametrize(
    ("inputs", "size"),
    [
        ([("FP32", [-1, 30])], 120),
        ([("FP64", [-1, 2, 3]), ("INT8", [-1])], 49),
        ([("FP32", [-1, -1])], None),
        ([("FP32", [-1, 3]), ("BYTES", [-1, 1])], None),
    ],
)
def test_the_bytes_of_a_row(make_config: Make, inputs: Any, size: int | None) -> None:
    specs = [
        {"name": f"x{n}", "datatype": datatype, "shape": shape}
        for n, (datatype, shape) in enumerate(inputs)
    ]
    sensitive = {"name": "s", "datatype": "BYTES", "shape": [-1], "sensitive": True}
    assert row_bytes(make_config(inputs=[*specs, sensitive])) == size


# -- deadlines --------------------------------------------------------------------------------


class Slow:
    """Makes a link answer after a time that is told, without waiting."""

    def __init__(self, link: Any) -> None:
        self.link = link
        self.seconds = 1.0
        link.result = self._result
        self._plain = type(link).result

    def _result(self, batch: Any, **more: Any) -> Any:
        return self._plain(self.link, batch, compute_ns=int(self.seconds * 1e9), **more)


async def taught(bench: Any, link: Any) -> Slow:
    slow = Slow(link)
    bench.batcher.add_link(link)
    for number in range(latency_model.SAMPLES):
        await get(bench.ask(str(number), timeout_s=1e6))
    return slow


async def test_nothing_is_refused_before_anything_is_learned(
    make_bench: Make, make_link: Make
) -> None:
    bench = make_bench()
    bench.batcher.add_link(make_link())
    assert await get(bench.ask("a", [1.0], timeout_s=1.0)) == [2.0]


async def test_what_cannot_be_in_time_is_refused_at_once(make_bench: Make, make_link: Make) -> None:
    bench, link = make_bench(), make_link()
    await taught(bench, link)
    with pytest.raises(DeadlineExceeded, match="needs at least 1e"):
        bench.ask("hopeless", timeout_s=0.5)
    assert bench.queue.waiting_rows == 0
    assert await get(bench.ask("patient", [1.0], timeout_s=1.5)) == [2.0]
    assert await get(bench.ask("without a deadline", [1.0])) == [2.0]


async def test_full_batches_ahead_count_and_one_that_is_not_full_does_not(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(max_batch_size=2), make_link()
    await taught(bench, link)
    link.manual = True
    futures = [bench.ask("under way")]
    await eventually(lambda: link.held)
    futures += [bench.ask("ahead"), bench.ask("in time", timeout_s=1.2)]
    with pytest.raises(DeadlineExceeded):
        bench.ask("behind a full batch", timeout_s=1.2)
    await work_off(link, futures)


async def test_a_wrong_lesson_is_forgotten(
    make_bench: Make, make_link: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    bench, link = make_bench(), make_link()
    slow = await taught(bench, link)
    slow.seconds = 0.001
    # Everybody has a deadline and is refused, so nothing can be learned anew.
    for _ in range(20):
        with pytest.raises(DeadlineExceeded):
            bench.ask("refused", timeout_s=0.5)
        now[0] += latency_model.FORGET_S / 20
    now[0] += latency_model.FORGET_S / 5
    assert await get(bench.ask("tried again", [1.0], timeout_s=0.5)) == [2.0]


async def test_nothing_is_learned_from_a_batch_that_was_searched_for_its_poison(
    make_bench: Make, make_link: Make
) -> None:
    bench, link = make_bench(), make_link()
    slow = await taught(bench, link)
    slow.seconds = 100.0
    usual, poison = link.result, {"failed": {0: "poison"}, "outputs": {}}
    link.result = lambda batch: usual(batch, **poison)
    for _ in range(latency_model.SAMPLES):
        with pytest.raises(ModelFailed):
            await get(bench.ask("poison", timeout_s=1e6))
    link.result = usual
    assert await get(bench.ask("in time", [1.0], timeout_s=50.0)) == [2.0]


@pytest.mark.parametrize("goal", [None, 4000])
async def test_what_cannot_be_in_time_any_more_is_given_up_for_those_behind_it(
    make_bench: Make, make_link: Make, eventually: Wait, goal: Any
) -> None:
    bench, link = make_bench(latency_slo_ms=goal), make_link(slots=1)
    slow = await taught(bench, link)
    slow.seconds = 4.0
    for _ in range(latency_model.SAMPLES):
        await get(bench.ask("two rows", [1.0, 2.0]))
    link.manual = True
    first = bench.ask("under way")
    await eventually(lambda: link.held)
    # Two rows need four seconds; only one who has a goal says that this is too long.
    tight, loose = bench.ask("tight", timeout_s=3.0), bench.ask("loose", [5.0])
    link.manual = False
    link.answer()
    assert await get(loose) == [10.0]
    await first
    if goal is None:
        await get(tight)
    else:
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(tight, TIMEOUT)
        assert bench.observer.of("abandoned") == [("deadline", 1)]
    assert ("tight" in [name for sent in link.sent for name in sent]) == (goal is None)


# -- the latency goal and the delay -----------------------------------------------------------


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


async def test_a_goal_that_no_batch_can_keep_does_not_make_batches_tiny() -> None:
    pace = BatchSizing(Batching(latency_slo_ms=50))
    for rows in (1, 2, 4, 8, 16, 32) * latency_model.SAMPLES:
        result = BatchResult({}, ResultMeta({}, (), int((0.040 + 0.0005 * rows) * 1e9), 0))
        pace.learn(rows, 0.0, 0.0, result, alone=False)
    assert 16 <= pace.most_rows(0.0, 2, 0.0) <= 24


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


# -- priorities and clients -------------------------------------------------------------------


async def test_priorities_and_clients_decide_once_not_all_fits(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(max_batch_size=2), make_link(manual=True)
    await busy(bench, link, eventually)
    futures = [bench.ask(f"flood-{n}", lane="flood", priority=2) for n in range(4)]
    futures += [bench.ask(f"other-{n}", lane="other", priority=2) for n in range(2)]
    futures += [bench.ask("urgent", lane="flood", priority=1)]
    await work_off(link, futures)
    assert link.sent[1][0] == "urgent"
    assert {name[:5] for name in link.sent[2]} == {"flood", "other"}
    assert [name for sent in link.sent for name in sent if name.startswith("flood")] == [
        f"flood-{n}" for n in range(4)
    ]


async def test_one_client_waits_in_a_plain_deque(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    from collections import deque

    bench, link = make_bench(max_batch_size=2), make_link(manual=True)
    await busy(bench, link, eventually)
    futures = [bench.ask(str(n), lane="alone") for n in range(5)]
    assert type(bench.queue._waiting) is deque
    futures.append(bench.ask("other", lane="other"))
    link.answer()
    await eventually(lambda: link.held)
    assert type(bench.queue._waiting) is not deque
    await work_off(link, futures)
    await eventually(lambda: type(bench.queue._waiting) is deque)


async def test_a_full_queue_makes_room_for_priority_and_for_who_has_less(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(max_queue_rows=4), make_link(manual=True)
    await busy(bench, link, eventually)
    flood = [bench.ask(f"flood-{n}", lane="flood", priority=2) for n in range(4)]
    with pytest.raises(QueueFull):
        bench.ask("more", lane="flood", priority=2)
    small = bench.ask("small", lane="small", priority=2)
    with pytest.raises(QueueFull):
        await asyncio.wait_for(flood.pop(), TIMEOUT)
    urgent = bench.ask("urgent", lane="small", priority=1)
    with pytest.raises(QueueFull):
        await asyncio.wait_for(flood.pop(), TIMEOUT)
    assert bench.queue.waiting_rows == 4
    await work_off(link, [*flood, small, urgent])
    assert bench.queue.waiting_rows == 0


async def test_nobody_makes_room_for_what_cannot_be_in_time(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(max_queue_rows=2), make_link(slots=1)
    await taught(bench, link)
    link.manual = True
    await busy(bench, link, eventually)
    waiting = [bench.ask(f"patient-{n}", lane="patient", priority=2) for n in range(2)]
    with pytest.raises(DeadlineExceeded):
        bench.ask("urgent and hopeless", lane="other", priority=1, timeout_s=0.5)
    await work_off(link, waiting)
    assert [await get(future) for future in waiting] == [[2.0], [2.0]]


@pytest.mark.parametrize(
    "wrong", [{"default_priority_level": 1}, {"priority_levels": 2, "default_priority_level": 3}]
)
def test_the_default_level_is_one_of_the_levels(make_config: Make, wrong: Any) -> None:
    config = make_config(batching={"priority_levels": 2, "default_priority_level": 2})
    assert config.batching == Batching(priority_levels=2, default_priority_level=2)
    raw = {**config.model_dump(mode="json"), "batching": wrong}
    with pytest.raises(ConfigError, match="default_priority_level must be one of"):
        parse(ModelConfig, raw, "model.yaml")


# -- retries ----------------------------------------------------------------------------------


class Counting:
    name = "counting"
    needs_features = False

    def __init__(self) -> None:
        self.rows: list[float] = []

    def check(self, inputs: Mapping[str, np.ndarray], features: Any) -> Decisions:
        self.rows += inputs["x"][:, 0].tolist()
        return Decisions(self.name, np.zeros(len(inputs["x"]), np.uint8), {})


async def test_what_a_lost_replica_held_does_not_pass_the_guards_again(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    guard = Counting()
    bench = make_bench([guard])
    dying, other = make_link("dying", manual=True), make_link("other", manual=True)
    bench.batcher.add_link(dying)
    first = bench.ask("first", [1.0])
    await eventually(lambda: dying.held)
    bench.batcher.add_link(other)
    second = bench.ask("second", [2.0])
    await eventually(lambda: other.held)
    third = bench.ask("third", [3.0])
    dying.die()
    await asyncio.sleep(0)
    await work_off(other, [first, second, third])
    assert other.sent == [["second"], ["first"], ["third"]]
    assert guard.rows == [1.0, 2.0, 3.0]
