"""What may wait, for how long, and who makes room for whom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from serving.config import Batching, ConfigError, ModelConfig, parse
from serving.dataplane.batching import latency_model
from serving.dataplane.queue.request_queue import RequestQueue, weigh
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending
from serving.dataplane.served import row_bytes
from serving.errors import DeadlineExceeded, ModelFailed, NoReplica, PayloadTooLarge, QueueFull

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


# -- the queue by itself ----------------------------------------------------------------------


class Owner:
    """What a batcher is for a queue."""

    def __init__(self, row_bytes: int | None = 8, **batching: Any) -> None:
        self.abandoned: list[str] = []
        self.queue = RequestQueue(
            "m", Batching(**batching), row_bytes, lambda item: self.abandoned.append(item.id)
        )
        self.queue.served = True

    def item(self, ident: str = "", rows: int = 1, flow: Any = "") -> Pending:
        bound = Bound((np.zeros((rows, 2), np.float32),), rows, ((2,),), (), None)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        return Pending(ident, bound, future, 0.0, flow)

    def ask(self, ident: str, rows: int = 1, flow: Any = "", **more: Any) -> Pending:
        item = self.item(ident, rows, flow)
        self.queue.append(item, **more)
        return item

    def take(self, most: int = 100, lost_before: float = 0.0) -> list[str]:
        return [item.id for item in self.queue.take(most, 1 << 20, lost_before)]


@pytest.mark.parametrize(
    ("timeout_s", "needed_s", "refused"),
    [(None, 9.0, None), (1.0, 0.0, None), (1.0, 1.0, None), (1.0, 1.1, "needs at least 1.1e"),
     (0.0, 0.0, "passed"), (-1.0, 0.0, "passed")],
)  # fmt: skip
async def test_a_deadline_that_cannot_be_kept_is_refused(
    timeout_s: float | None, needed_s: float, refused: str | None
) -> None:
    owner = Owner()
    if refused is None:
        item = owner.ask("a", timeout_s=timeout_s, needed_s=needed_s)
        assert (item.timer is None) == (timeout_s is None)
        assert owner.take() == ["a"]
    else:
        with pytest.raises(DeadlineExceeded, match=refused):
            owner.ask("a", timeout_s=timeout_s, needed_s=needed_s)
        assert owner.queue.waiting_rows == 0


async def test_a_request_in_parts_gets_room_and_a_deadline_and_does_not_wait_itself(
    eventually: Wait,
) -> None:
    owner = Owner(max_queue_rows=4)
    whole = owner.ask("whole", 4, timeout_s=0.01, in_parts=True)
    assert owner.queue.waiting_rows == 0
    parts = [owner.item(f"part {n}", 2) for n in range(2)]
    owner.queue.extend(parts)
    assert owner.queue.waiting_rows == 4
    with pytest.raises(QueueFull):
        owner.ask("other")
    assert owner.take() == ["part 0", "part 1"]
    await eventually(whole.future.done)
    assert isinstance(whole.future.exception(), DeadlineExceeded)
    owner.queue.extend([owner.item("part", 4)])  # for a second time: never refused
    with pytest.raises(QueueFull):
        owner.ask("another", 4, in_parts=True)


@pytest.mark.parametrize("row_bytes", [8, None])
async def test_what_was_sent_in_vain_counts_and_goes_first_without_who_has_left(
    row_bytes: int | None,
) -> None:
    owner = Owner(row_bytes)
    for ident in "abcd":
        owner.ask(ident, 2)
    queue = owner.queue
    sent = queue.take(4, 1 << 20, 0.0)
    queue.put_back(sent)
    assert queue.waiting_rows == 8
    assert queue.waiting_bytes == (0 if row_bytes else 64)
    assert [item.id for item in queue.items()] == ["a", "b", "c", "d"]
    sent[1].future.cancel()
    assert [item.id for item in queue.take_returned()] == ["a"]
    assert owner.abandoned == ["b"]
    assert not queue.returned
    assert owner.take() == ["c", "d"]
    assert (queue.waiting_rows, queue.waiting_bytes) == (0, 0)


async def test_who_is_evicted_is_answered_whatever_it_waits_for() -> None:
    owner = Owner()
    items = [owner.ask("returned"), owner.ask("one", flow="a"), owner.ask("two", flow="b")]
    owner.queue.put_back(owner.queue.take(1, 1 << 20, 0.0))
    room: list[int] = []
    owner.queue.on_room = lambda: room.append(owner.queue.waiting_rows)
    owner.queue.served = False
    owner.queue.evict(NoReplica("nobody"))
    for item in items:
        assert isinstance(item.future.exception(), NoReplica)
    assert (owner.queue.waiting_rows, owner.queue.items(), room) == (0, [], [0])


async def test_it_is_full_only_while_somebody_computes() -> None:
    owner = Owner(max_queue_rows=1)
    owner.ask("a")
    with pytest.raises(QueueFull):
        owner.ask("b")
    assert owner.queue.full
    assert owner.queue.crowded == {owner.queue}
    owner.queue.served = False
    assert not owner.queue.full


async def test_what_is_ahead_of_a_request_is_certain_only_in_one_lane() -> None:
    owner = Owner()
    owner.ask("a", 3)
    assert owner.queue.ahead == 3
    owner.ask("b", 2, flow="other")
    assert (owner.queue.ahead, owner.queue.waiting_rows) == (0, 5)
    assert owner.take() == ["a", "b"]
    owner.ask("c", 2, flow="other")
    assert owner.queue.ahead == 2


async def test_the_head_is_what_leaves_next() -> None:
    owner = Owner()
    for number in range(4):
        owner.ask(f"flood {number}", flow="flood")
    owner.ask("other", flow="other")
    while owner.queue.waiting_rows:
        head = owner.queue.head
        assert owner.take(1) == [head.id]


async def test_whoever_is_answered_by_a_take_may_ask_again_at_once() -> None:
    """Its connection reads the next request in the same turn, which others may make room for."""
    owner = Owner(max_queue_rows=4)
    late = owner.ask("late", timeout_s=1.0)
    flood = [owner.ask(f"flood {n}", flow="flood") for n in range(3)]
    late.on_done = lambda: owner.queue.append(owner.item("again", 2, flow="small"))
    soon = asyncio.get_running_loop().time() + 10.0
    assert owner.take(lost_before=soon) == ["flood 0", "flood 1", "flood 2"]
    assert not any(item.future.done() for item in flood)
    assert owner.abandoned == ["late"]
    assert owner.queue.waiting_rows == 2
    assert owner.take() == ["again"]
    assert owner.queue.waiting_rows == 0


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
        self.seconds = 100.0  # far more than a busy machine needs for a turn
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
    assert await get(bench.ask("a", [1.0], timeout_s=60.0)) == [2.0]


async def test_what_cannot_be_in_time_is_refused_at_once(make_bench: Make, make_link: Make) -> None:
    bench, link = make_bench(), make_link()
    await taught(bench, link)
    with pytest.raises(DeadlineExceeded, match="needs at least 1e"):
        bench.ask("hopeless", timeout_s=50.0)
    assert bench.queue.waiting_rows == 0
    assert await get(bench.ask("patient", [1.0], timeout_s=150.0)) == [2.0]
    assert await get(bench.ask("without a deadline", [1.0])) == [2.0]


async def test_full_batches_ahead_count_and_one_that_is_not_full_does_not(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(max_batch_size=2), make_link()
    await taught(bench, link)
    link.manual = True
    futures = [bench.ask("under way")]
    await eventually(lambda: link.held)
    futures += [bench.ask("ahead"), bench.ask("in time", timeout_s=150.0)]
    with pytest.raises(DeadlineExceeded):
        bench.ask("behind a full batch", timeout_s=150.0)
    await work_off(link, futures)


async def test_a_wrong_lesson_is_forgotten(
    make_bench: Make, make_link: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    bench, link = make_bench(), make_link()
    slow = await taught(bench, link)
    slow.seconds = 0.1
    # Everybody has a deadline and is refused, so nothing can be learned anew.
    for _ in range(20):
        with pytest.raises(DeadlineExceeded):
            bench.ask("refused", timeout_s=50.0)
        now[0] += latency_model.FORGET_S / 20
    now[0] += latency_model.FORGET_S / 5
    assert await get(bench.ask("tried again", [1.0], timeout_s=50.0)) == [2.0]


async def test_nothing_is_learned_from_a_batch_that_was_searched_for_its_poison(
    make_bench: Make, make_link: Make
) -> None:
    bench, link = make_bench(), make_link()
    slow = await taught(bench, link)
    slow.seconds = 10_000.0
    usual, poison = link.result, {"failed": {0: "poison"}, "outputs": {}}
    link.result = lambda batch: usual(batch, **poison)
    for _ in range(latency_model.SAMPLES):
        with pytest.raises(ModelFailed):
            await get(bench.ask("poison", timeout_s=1e6))
    link.result = usual
    assert await get(bench.ask("in time", [1.0], timeout_s=5000.0)) == [2.0]


@pytest.mark.parametrize("goal", [None, 400_000])
async def test_what_cannot_be_in_time_any_more_is_given_up_for_those_behind_it(
    make_bench: Make, make_link: Make, eventually: Wait, goal: Any
) -> None:
    bench, link = make_bench(latency_slo_ms=goal), make_link(slots=1)
    slow = await taught(bench, link)
    slow.seconds = 400.0
    for _ in range(latency_model.SAMPLES):
        await get(bench.ask("two rows", [1.0, 2.0]))
    link.manual = True
    first = bench.ask("under way")
    await eventually(lambda: link.held)
    # Two rows need 400 seconds; only one who has a goal says that this is too long.
    tight, loose = bench.ask("tight", timeout_s=300.0), bench.ask("loose", [5.0])
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


# -- priorities and clients -------------------------------------------------------------------


async def test_priorities_and_clients_decide_once_not_all_fits(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(max_batch_size=2), make_link(manual=True)
    await busy(bench, link, eventually)
    futures = [bench.ask(f"flood-{n}", flow="flood", priority=2) for n in range(4)]
    futures += [bench.ask(f"other-{n}", flow="other", priority=2) for n in range(2)]
    futures += [bench.ask("urgent", flow="flood", priority=1)]
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
    futures = [bench.ask(str(n), flow="alone") for n in range(5)]
    assert type(bench.queue._waiting) is deque
    futures.append(bench.ask("other", flow="other"))
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
    flood = [bench.ask(f"flood-{n}", flow="flood", priority=2) for n in range(4)]
    with pytest.raises(QueueFull):
        bench.ask("more", flow="flood", priority=2)
    small = bench.ask("small", flow="small", priority=2)
    with pytest.raises(QueueFull):
        await asyncio.wait_for(flood.pop(), TIMEOUT)
    urgent = bench.ask("urgent", flow="small", priority=1)
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
    waiting = [bench.ask(f"patient-{n}", flow="patient", priority=2) for n in range(2)]
    with pytest.raises(DeadlineExceeded):
        bench.ask("urgent and hopeless", flow="other", priority=1, timeout_s=50.0)
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
