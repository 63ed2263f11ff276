"""Requests with more rows than a batch may have: cut, computed by parts, and put together."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.decisions import Action
from serving.channel.messages.inference import GuardResult, ResponseParameters
from serving.dataplane.hooks.event_batches import EventBatch, EventKey
from serving.dataplane.hooks.events import Events
from serving.dataplane.hooks.guard_scores import note_scores_of_parts
from serving.dataplane.hooks.metrics import Metrics
from serving.dataplane.hooks.statistics import BatchStatistics
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending
from serving.dataplane.requests.splitting import SplitRequest
from serving.errors import (
    DeadlineExceeded,
    GuardRejected,
    ModelFailed,
    ModelNotReady,
    NoReplica,
    QueueFull,
)
from serving.telemetry.counters import SeriesSet

Wait = Callable[[Callable[[], object]], Awaitable[None]]
Make = Callable[..., Any]
TIMEOUT = 60

KEY = ("m", "1", "r")


async def get(future: asyncio.Future[Any]) -> list[float]:
    answer = await asyncio.wait_for(future, TIMEOUT)
    return answer.outputs["y"][:, 0].tolist()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 9), st.integers(1, 3))
def test_everybody_gets_their_rows_in_order(
    make_bench: Make, make_link: Make, asked: list[int], most: int, slots: int
) -> None:
    async def main() -> None:
        bench = make_bench(max_batch_size=most)
        links = [make_link(str(index), slots) for index in range(2)]
        for link in links:
            bench.batcher.add_link(link)
        futures = [
            bench.ask(str(i), [100.0 * i + row for row in range(n)]) for i, n in enumerate(asked)
        ]
        for i, (n, future) in enumerate(zip(asked, futures, strict=True)):
            assert await get(future) == [2 * (100.0 * i + row) for row in range(n)]
        assert all(batch.total <= most for link in links for batch in link.batches)
        assert bench.queue.waiting_rows == 0

    asyncio.run(main())


async def cut_in_three(bench: Any, link: Any, eventually: Wait, **more: Any) -> Any:
    bench.batcher.add_link(link)
    future = bench.ask("large", [1.0, 2.0, 3.0, 4.0, 5.0], **more)
    await eventually(lambda: link.held)
    return future


async def test_parts_answered_out_of_order_and_flags_of_all(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(max_batch_size=2), make_link(slots=3, manual=True)
    future = await cut_in_three(bench, link, eventually)
    await eventually(lambda: len(link.held) == 3)
    for flags in (["b"], ["a", "b"], ["c"]):
        batch, held = link.held.pop()
        guards = tuple(GuardResult(name, ((0, Action.FLAG, ""),)) for name in flags)
        held.set_result(link.result(batch, guards=guards))
    answer = await asyncio.wait_for(future, TIMEOUT)
    assert answer.outputs["y"][:, 0].tolist() == [2, 4, 6, 8, 10]
    assert answer.flags == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"failed": {0: "poison"}, "outputs": {}}, ModelFailed),
        ({"guards": (GuardResult("g", ((1, Action.REJECT, "no"),)),)}, GuardRejected),
    ],
)
async def test_one_part_that_fails_fails_the_request_and_the_rest_is_not_computed(
    make_bench: Make, make_link: Make, eventually: Wait, answer: Any, error: type[Exception]
) -> None:
    bench, link = make_bench(max_batch_size=2), make_link(manual=True)
    future = await cut_in_three(bench, link, eventually)
    link.answer(**answer)
    with pytest.raises(error):
        await asyncio.wait_for(future, TIMEOUT)
    await eventually(lambda: link.held or not bench.queue.waiting_rows)
    link.manual = False
    while link.held:
        link.answer()
        await asyncio.sleep(0)
    await eventually(lambda: not bench.queue.waiting_rows)
    assert len(link.sent) <= 2
    assert {reason for reason, _ in bench.observer.of("abandoned")} == {"failed"}


@pytest.mark.parametrize("how", ["deadline", "cancel"])
async def test_the_end_of_the_request_ends_its_parts(
    make_bench: Make, make_link: Make, eventually: Wait, how: str
) -> None:
    bench, link = make_bench(max_batch_size=2), make_link(manual=True)
    future = await cut_in_three(
        bench, link, eventually, timeout_s=0.01 if how == "deadline" else 1e9
    )
    if how == "cancel":
        future.cancel()
    else:
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(future, TIMEOUT)
    await asyncio.sleep(0)
    link.answer()
    await eventually(lambda: not bench.queue.waiting_rows)
    assert link.sent == [["large"]]
    reason = "deadline" if how == "deadline" else "disconnect"
    assert bench.observer.of("abandoned") == [(reason, 2), (reason, 1)]
    assert bench.items[0].timer.cancelled()


async def test_a_large_request_fits_as_a_whole_or_not_at_all(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(max_batch_size=2, max_queue_rows=6), make_link(manual=True)
    await cut_in_three(bench, link, eventually)
    assert bench.queue.waiting_rows == 3
    with pytest.raises(QueueFull):
        bench.ask("another", [1.0] * 5)
    assert bench.queue.waiting_rows == 3
    link.manual = False
    link.answer()
    await get(bench.items[0].future)


def remote(count: int, *, alone: bool) -> Bound:
    array = np.arange(count * 2, dtype=np.float32).reshape(count, 2)
    return Bound((array,), count, ((2,), b"told"), (), None, b"told", alone)


async def test_every_part_is_told_what_the_request_passes_on(
    make_bench: Make, make_link: Make
) -> None:
    bench, link = make_bench(max_batch_size=2), make_link()
    said = ResponseParameters({"n": 7}, {})
    usual = link.result
    link.result = lambda batch: usual(batch, response_parameters={0: said})
    bench.batcher.add_link(link)
    future = bench.ask("large", bound=remote(3, alone=False))
    assert (await asyncio.wait_for(future, TIMEOUT)).response_parameters == said
    passed_on = [item.bound.forward for batch in link.batches for item in batch.items]
    assert passed_on == [b"told", b"told"]


def of_versions(link: Any, *versions: str) -> None:
    """Have a link's batches answered by these versions of another server, one after the other."""
    usual, upcoming = link.result, iter(versions)

    def result(batch: Any) -> Any:
        said = ResponseParameters({}, {}, next(upcoming))
        return usual(batch, response_parameters=dict.fromkeys(range(len(batch.items)), said))

    link.result = result


async def test_an_answer_in_parts_is_of_one_version(
    make_bench: Make,
    make_link: Make,
    make_recorder: Make,
    eventually: Wait,
    caplog: pytest.LogCaptureFixture,
) -> None:
    publisher = Publisher()
    statistics = BatchStatistics()
    recorder = make_recorder(Events(KEY, publisher, inputs=True), statistics)  # type: ignore[arg-type]
    bench, link = make_bench(observer=recorder, max_batch_size=2), make_link()
    of_versions(link, "1", "2", "2", "2", "3")
    bench.batcher.add_link(link)
    future = bench.ask("large", [1.0, 2.0, 3.0, 4.0, 5.0])
    answer = await asyncio.wait_for(future, TIMEOUT)
    assert answer.outputs["y"][:, 0].tolist() == [2, 4, 6, 8, 10]
    assert answer.response_parameters.version == "2"
    rows = [batch.arrays[0][:, 0].tolist() for batch in link.batches]
    assert rows == [[1, 2], [3, 4], [5], [1, 2]]  # only what version 1 had answered is sent again
    assert bench.queue.waiting_rows == 0
    await get(bench.ask("small", [9.0]))
    await eventually(lambda: len(publisher.events) == 2)
    assert [(batch.ids, key.upstream) for key, batch in publisher.events] == [
        (["large"], "2"), (["small"], "3"),
    ]  # fmt: skip
    assert statistics.requests.count == 2
    assert not caplog.records  # of an event that could not be made


async def test_a_request_whose_parts_never_are_of_one_version_fails(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(max_batch_size=2), make_link()
    of_versions(link, *"123456789")
    bench.batcher.add_link(link)
    with pytest.raises(ModelNotReady, match="different versions") as caught:
        await asyncio.wait_for(bench.ask("large", [1.0, 2.0, 3.0]), TIMEOUT)
    assert caught.value.retry_after_s
    assert len(link.sent) == 2 + 3
    await eventually(lambda: not bench.queue.waiting_rows)


async def test_parts_that_nobody_is_left_to_answer_again_fail(
    make_bench: Make, make_link: Make
) -> None:
    bench, link = make_bench(max_batch_size=2), make_link()
    of_versions(link, "1", "2")
    bench.batcher.add_link(link)
    future = bench.ask("large", [1.0, 2.0, 3.0])
    usual = link.result

    def last(batch: Any) -> Any:
        link.open = len(link.sent) < 2
        return usual(batch)

    link.result = last
    with pytest.raises(NoReplica):
        await asyncio.wait_for(future, TIMEOUT)


async def test_a_batch_with_answers_of_two_versions_is_two_events(
    make_bench: Make, make_link: Make, make_recorder: Make, eventually: Wait
) -> None:
    publisher = Publisher()
    recorder = make_recorder(Events(KEY, publisher, inputs=True))  # type: ignore[arg-type]
    bench, link = make_bench(observer=recorder), make_link(manual=True)
    bench.batcher.add_link(link)
    asked = [bench.ask(ident, [value]) for ident, value in (("a", 1.0), ("b", 2.0), ("c", 3.0))]
    await eventually(lambda: link.held)
    link.answer(response_parameters={1: ResponseParameters({}, {}, "2")})
    assert await asyncio.gather(*map(get, asked)) == [[2], [4], [6]]
    await eventually(lambda: len(publisher.events) == 2)
    found = {
        key.upstream: (batch.ids, batch.outputs["y"][:, 0].tolist())
        for key, batch in publisher.events
    }
    assert found == {"": (["a", "c"], [2, 6]), "2": (["b"], [4])}


async def test_a_request_that_goes_alone_goes_whole(make_bench: Make, make_link: Make) -> None:
    bench, link = make_bench(max_batch_size=2), make_link()
    bench.batcher.add_link(link)
    futures = [bench.ask("step", bound=remote(3, alone=True)), bench.ask("small")]
    assert await get(futures[0]) == [0, 4, 8]
    await get(futures[1])
    assert link.sent == [["step"], ["small"]]
    assert bench.queue.waiting_rows == 0


class Publisher:
    def __init__(self) -> None:
        self.events: list[tuple[EventKey, EventBatch]] = []

    def publish(self, key: EventKey, batch: EventBatch) -> None:
        self.events.append((key, batch))


async def test_it_is_one_request_for_metrics_statistics_and_events(
    make_bench: Make,
    make_link: Make,
    make_recorder: Make,
    eventually: Wait,
    caplog: pytest.LogCaptureFixture,
) -> None:
    publisher, series = Publisher(), SeriesSet()
    counted = BatchStatistics()
    recorder = make_recorder(
        Metrics(series, "m", "1"),
        counted,
        Events(KEY, publisher, inputs=True),  # type: ignore[arg-type]
    )
    bench, link = make_bench(observer=recorder, max_batch_size=2), make_link()
    bench.batcher.add_link(link)
    sensitive = {"sex": np.array(list("MFMFM"), object)}
    large = bench.ask("large", [1.0, 2.0, 3.0, 4.0, 5.0])
    item = bench.items[0]
    old = item.bound
    item.bound = Bound(old.arrays, old.rows, old.key, (), sensitive)
    small = bench.ask("small", [9.0])
    await asyncio.gather(get(large), get(small))
    await eventually(lambda: len(publisher.events) == 2)
    assert link.sent == [["large"], ["large"], ["large", "small"]]
    large_event, small_event = sorted(
        (batch for _, batch in publisher.events), key=lambda batch: batch.ids[0]
    )
    assert (large_event.ids, large_event.rows) == (["large"], [5])
    assert large_event.inputs["x"][:, 0].tolist() == [1, 2, 3, 4, 5]
    assert large_event.outputs["y"][:, 0].tolist() == [2, 4, 6, 8, 10]
    assert large_event.sensitive is not None
    assert large_event.sensitive["sex"].tolist() == list("MFMFM")
    assert (small_event.ids, small_event.rows, small_event.sensitive) == (["small"], [1], None)
    assert small_event.inputs["x"][:, 0].tolist() == [9]
    assert small_event.outputs["y"][:, 0].tolist() == [18]
    assert (counted.requests.count, counted.rows, counted.batches) == (2, 6, 3)
    waits = next(s for s in series.snapshot() if s.name == "vigil.inference.queue.duration")
    assert sum(waits.counts) == 2
    assert not caplog.records  # of an event that could not be made


async def test_what_a_guard_of_the_model_took_back_is_no_event(
    make_bench: Make, make_link: Make, make_recorder: Make, eventually: Wait
) -> None:
    publisher = Publisher()
    recorder = make_recorder(Events(KEY, publisher, inputs=True), guards=("g",))  # type: ignore[arg-type]
    bench, link = make_bench(observer=recorder, max_batch_size=2), make_link(manual=True)
    future = await cut_in_three(bench, link, eventually)
    good, bad = bench.ask("good", [9.0]), bench.ask("bad", [8.0])
    link.answer()
    await eventually(lambda: link.held)
    link.answer()
    await eventually(lambda: link.held)  # the last part, and `good`
    link.answer(guards=(GuardResult("g", ((0, Action.REJECT, "no"),)),))
    await eventually(lambda: link.held)
    link.answer(guards=(GuardResult("g", ((0, Action.REJECT, "no"),)),))
    for refused in (future, bad):
        with pytest.raises(GuardRejected):
            await asyncio.wait_for(refused, TIMEOUT)
    assert await get(good) == [18.0]
    last = bench.ask("last", [7.0])
    await eventually(lambda: link.held)
    link.answer()
    await get(last)
    await eventually(lambda: len(publisher.events) == 2)
    (_, good_event), (_, last_event) = publisher.events
    assert (good_event.ids, good_event.rows, last_event.ids) == (["good"], [1], ["last"])
    assert good_event.inputs["x"][:, 0].tolist() == [9]
    assert good_event.outputs["y"][:, 0].tolist() == [18]


class Compared:
    """A future's stand-in that counts how often it is held against another one."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Compared.compared += 1
        return self is other

    __hash__ = None  # type: ignore[assignment]


async def test_work_for_a_request_grows_with_its_parts_and_no_faster() -> None:
    rows = 300
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    x = np.zeros((rows, 1), np.float32)
    item = Pending("large", Bound((x,), rows, ((1,),), (), None), future, 0.0)
    parts: list[Pending] = []
    SplitRequest(item, parts.extend).cut(1)
    whole = parts[0].whole
    assert whole is not None
    for part in parts:
        part.future = Compared()  # type: ignore[assignment]
    whole.futures = [part.future for part in parts]
    for row, part in enumerate(parts):
        part.scored("here", np.float32([row]))
        part.decided("g", 0, Action.FLAG, "far")
        note_scores_of_parts([part], {"beside": np.float32([-row])})
    assert Compared.compared == 0
    assert item.scores is not None
    assert item.scores["here"].tolist() == list(range(rows))
    assert item.scores["beside"].tolist() == [-row for row in range(rows)]
    assert item.decisions is not None
    assert [decision.row for decision in item.decisions] == list(range(rows))


@pytest.mark.parametrize("how", ["answer", "cancel", "misfit"])
async def test_what_a_large_request_held_goes_with_it(how: str) -> None:
    rows = np.zeros((5, 2), np.float32)
    gone = weakref.ref(rows)
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    item = Pending("large", Bound((rows,), 5, ((2,),), (), None), future, 0.0)
    del rows
    parts: list[Pending] = []
    SplitRequest(item, parts.extend).cut(2)
    gc.disable()
    try:
        if how == "cancel":
            future.cancel()
        else:
            for width, part in enumerate(parts, 1):
                shape = (part.bound.rows, width if how == "misfit" else 1)
                part.answer({"y": np.zeros(shape)})
        await asyncio.wait([future], timeout=TIMEOUT)
        if how == "misfit":
            assert isinstance(future.exception(), ModelFailed)
        await asyncio.sleep(0)
        parts.clear()  # as a queue does
        del item, future
        if how != "cancel":
            del part
        await asyncio.sleep(0)
        assert gone() is None
    finally:
        gc.enable()
