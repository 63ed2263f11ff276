"""Continuous batching over fake replicas: who travels together, who waits, who is told what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.decisions import Action, Decisions
from guards.guard import Needs, Stage
from guards.rows import Rows
from serving.channel.messages.inference import GuardResult, ResponseParameters
from serving.dataplane.queue import request_queue
from serving.errors import (
    DeadlineExceeded,
    GuardRejected,
    ModelFailed,
    NoReplica,
    PayloadTooLarge,
    QueueFull,
)

Wait = Callable[[Callable[[], object]], Awaitable[None]]
Make = Callable[..., Any]
TIMEOUT = 60


async def get(future: asyncio.Future[Any]) -> list[float]:
    """The first column of an answer; nothing here may hang."""
    answer = await asyncio.wait_for(future, TIMEOUT)
    return answer.outputs["y"][:, 0].tolist()


async def turn(times: int = 3) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def test_one_request_gets_its_answer(make_bench: Make, make_link: Make) -> None:
    bench, link = make_bench(), make_link()
    bench.batcher.add_link(link)
    assert await get(bench.ask("a", [3.0])) == [6.0]
    assert (link.busy, link.rows, bench.queue.waiting_rows) == (0, 0, 0)
    assert [batch for batch, _result in bench.observer.of("answered")] == link.batches


async def test_what_waits_for_a_slot_leaves_together(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(), make_link(manual=True)
    bench.batcher.add_link(link)
    first = bench.ask("a", [1.0])
    await eventually(lambda: link.held)
    rest = [bench.ask(name, [value, value]) for name, value in (("b", 2.0), ("c", 3.0))]
    await turn()
    assert link.sent == [["a"]]
    assert (link.busy, link.rows, bench.queue.waiting_rows) == (1, 1, 4)
    link.answer()
    assert await get(first) == [2.0]
    await eventually(lambda: link.held)
    assert link.sent == [["a"], ["b", "c"]]
    link.answer()
    assert [await get(future) for future in rest] == [[4.0, 4.0], [6.0, 6.0]]


async def test_requests_of_one_loop_turn_share_a_batch(make_bench: Make, make_link: Make) -> None:
    bench, link = make_bench(), make_link(slots=8)
    bench.batcher.add_link(link)
    await asyncio.gather(*[get(bench.ask(str(index))) for index in range(5)])
    assert link.sent == [["0", "1", "2", "3", "4"]]


async def test_a_batch_never_exceeds_its_rows_and_keeps_the_order(
    make_bench: Make, make_link: Make
) -> None:
    bench, link = make_bench(max_batch_size=4), make_link()
    bench.batcher.add_link(link)
    sizes = [2, 2, 1, 4, 3, 1]
    futures = [bench.ask(str(index), [float(index)] * n) for index, n in enumerate(sizes)]
    answers = [await get(future) for future in futures]
    assert answers == [[2.0 * index] * n for index, n in enumerate(sizes)]
    assert link.sent == [["0", "1"], ["2"], ["3"], ["4", "5"]]


async def test_the_least_loaded_replica_takes_the_next_batch(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench = make_bench()
    one, two = make_link("one", 2, manual=True), make_link("two", 2, manual=True)
    for link in (one, two):
        bench.batcher.add_link(link)
    for index, rows in enumerate((5, 1, 1)):
        bench.ask(str(index), [1.0] * rows)
        await eventually(lambda index=index: len(one.sent) + len(two.sent) == index + 1)
    assert (one.sent, two.sent) == ([["0"]], [["1"], ["2"]])
    for link in (one, two):
        while link.held:
            link.answer()
    await turn()


async def test_the_queue_is_bounded_by_rows(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(max_queue_rows=4), make_link(manual=True)
    bench.batcher.add_link(link)
    futures = [bench.ask("under way")]
    await eventually(lambda: link.held)
    futures.append(bench.ask("waits", [1.0] * 3))
    with pytest.raises(QueueFull, match="'m' is full") as caught:
        bench.ask("too much", [1.0] * 2)
    assert caught.value.retry_after_s == 1
    futures.append(bench.ask("fits", [1.0]))
    while link.held or bench.queue.waiting_rows:
        link.answer()
        await turn(6)
    for future in futures:
        await get(future)
    assert bench.queue.waiting_rows == 0


async def test_more_rows_than_may_wait_are_refused(make_bench: Make, make_link: Make) -> None:
    bench = make_bench(max_queue_rows=2)
    bench.batcher.add_link(make_link())
    with pytest.raises(PayloadTooLarge, match="3 rows; model 'm' takes at most 2"):
        bench.ask("a", [1.0] * 3)


async def test_without_a_replica_nothing_is_queued(make_bench: Make, make_link: Make) -> None:
    bench, link = make_bench(), make_link()
    with pytest.raises(NoReplica):
        bench.ask("a")
    link.open = False
    bench.batcher.add_link(link)
    with pytest.raises(NoReplica) as caught:
        bench.ask("a")
    assert caught.value.retry_after_s == 1
    assert bench.queue.waiting_rows == 0


# -- deadlines and clients that leave ---------------------------------------------------------


async def test_a_deadline_passes_while_queued_and_while_running(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(), make_link(manual=True)
    bench.batcher.add_link(link)
    running = bench.ask("running", timeout_s=0.03)
    await eventually(lambda: link.held)
    queued = bench.ask("queued", timeout_s=0.03)
    patient = bench.ask("patient", [5.0], timeout_s=60)
    for future in (running, queued):
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(future, TIMEOUT)
    link.answer()  # too late for `running`; `queued` is not computed any more
    await eventually(lambda: link.held)
    assert link.sent == [["running"], ["patient"]]
    link.answer()
    assert await get(patient) == [10.0]
    assert bench.queue.waiting_rows == 0


@pytest.mark.parametrize("timeout_s", [0.0, -1.0])
async def test_a_deadline_that_has_passed_is_refused(
    make_bench: Make, make_link: Make, timeout_s: float
) -> None:
    bench = make_bench()
    bench.batcher.add_link(make_link())
    with pytest.raises(DeadlineExceeded):
        bench.ask("a", timeout_s=timeout_s)
    assert bench.queue.waiting_rows == 0


async def test_requests_that_nobody_waits_for_do_not_fill_the_queue(
    make_bench: Make, make_link: Make, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_queue, "SWEEP_S", 3600)
    bench, link = make_bench(max_queue_rows=4), make_link(manual=True)
    bench.batcher.add_link(link)
    bench.ask("hangs")
    await eventually(lambda: link.held)
    expired = bench.ask("expired", [1.0] * 2, timeout_s=0.01)
    bench.ask("gone").cancel()
    waiting = bench.ask("waiting", [3.0])
    await eventually(expired.done)
    fits = bench.ask("fits", [4.0] * 3)
    assert bench.queue.waiting_rows == 4
    with pytest.raises(QueueFull):  # and looks for room only now and then
        bench.ask("too much")
    link.answer()
    link.manual = False
    assert [await get(waiting), await get(fits)] == [[6.0], [8.0] * 3]
    assert isinstance(expired.exception(), DeadlineExceeded)


async def test_a_cancelled_request_is_not_computed_and_its_timer_ends(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(), make_link(manual=True)
    bench.batcher.add_link(link)
    bench.ask("first")
    await eventually(lambda: link.held)
    gone = bench.ask("gone", timeout_s=1e9)
    stays = bench.ask("stays", [4.0])
    gone.cancel()
    link.answer()
    await eventually(lambda: link.held)
    assert link.sent[1] == ["stays"]
    assert bench.items[1].timer.cancelled()
    link.answer()
    assert await get(stays) == [8.0]


async def test_an_answer_ends_the_timer(make_bench: Make, make_link: Make) -> None:
    bench = make_bench()
    bench.batcher.add_link(make_link())
    await get(bench.ask("a", timeout_s=1e9))
    assert bench.items[0].timer.cancelled()


# -- shapes -----------------------------------------------------------------------------------


async def test_other_shapes_travel_apart_and_nobody_starves(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(), make_link(manual=True)
    bench.batcher.add_link(link)
    futures = [bench.ask("w2", width=2)]
    await eventually(lambda: link.held)
    futures += [bench.ask(f"{w}-{i}", [float(i)], width=w) for i in range(3) for w in (2, 3, 4)]
    for number in range(4):
        link.answer()
        # Requests of the popular shape keep coming; the others must have their turn all the same.
        futures.append(bench.ask(f"late-{number}", width=2))
        await eventually(lambda number=number: len(link.sent) == number + 2)
    assert link.sent[1] == ["2-0", "2-1", "2-2", "late-0"]
    assert link.sent[2] == ["3-0", "3-1", "3-2"]
    assert link.sent[3] == ["4-0", "4-1", "4-2"]
    for batch in link.batches:
        assert len({item.bound.key for item in batch.items}) == 1
    link.answer()
    link.manual = False
    for future in futures:
        await asyncio.wait_for(future, TIMEOUT)


async def test_what_was_passed_over_stays_ahead_of_what_did_not_fit(
    make_bench: Make, make_link: Make
) -> None:
    bench, link = make_bench(max_batch_size=3), make_link()
    bench.batcher.add_link(link)
    sent = (("a", 2, 2), ("other", 1, 5), ("too much", 2, 2))
    for future in [bench.ask(name, [1.0] * rows, width=width) for name, rows, width in sent]:
        await get(future)
    assert link.sent == [["a"], ["other"], ["too much"]]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from([2, 3])), min_size=1, max_size=25),
    st.integers(5, 9),
    st.integers(1, 3),
)
def test_everybody_gets_their_own_answer(
    make_bench: Make, make_link: Make, asked: list[tuple[int, int]], most: int, slots: int
) -> None:
    async def main() -> None:
        bench = make_bench(max_batch_size=most)
        links = [make_link(str(index), slots) for index in range(2)]
        for link in links:
            bench.batcher.add_link(link)
        futures = [
            bench.ask(str(i), [100.0 * i + row for row in range(n)], width=width)
            for i, (n, width) in enumerate(asked)
        ]
        for i, ((n, width), future) in enumerate(zip(asked, futures, strict=True)):
            answer = await asyncio.wait_for(future, TIMEOUT)
            want = [[2 * (100.0 * i + row)] * width for row in range(n)]
            assert answer.outputs["y"].tolist() == want
        assert all(batch.total <= most for link in links for batch in link.batches)
        assert all((link.busy, link.rows) == (0, 0) for link in links)

    asyncio.run(main())


# -- replicas that fail -----------------------------------------------------------------------


async def test_a_lost_batch_is_retried_once_in_order_ahead_of_what_waits(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench = make_bench(max_batch_size=3)
    dying, other = make_link("dying", manual=True), make_link("other", manual=True)
    bench.batcher.add_link(dying)
    lost = [bench.ask(name, [value]) for name, value in (("a", 1.0), ("b", 2.0), ("c", 3.0))]
    await eventually(lambda: dying.held)
    later = bench.ask("d", [4.0])
    await turn()
    bench.batcher.add_link(other)
    await eventually(lambda: other.held)  # "d"
    last = bench.ask("e", [5.0])
    dying.die()
    await turn(6)
    other.answer()
    await eventually(lambda: len(other.sent) == 2)
    assert other.sent == [["d"], ["a", "b", "c"]]
    other.answer()
    await eventually(lambda: len(other.sent) == 3)
    other.answer()
    assert [await get(future) for future in (*lost, later, last)] == [
        [2.0], [4.0], [6.0], [8.0], [10.0],
    ]  # fmt: skip
    assert bench.observer.of("retried") == [(3,)]
    assert bench.batcher.links == [other]
    assert (dying.busy, dying.rows, bench.queue.waiting_rows) == (0, 0, 0)


async def test_a_request_that_kills_two_replicas_is_not_given_a_third(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench = make_bench()
    links = [make_link(str(index), manual=True) for index in range(3)]
    for link in links:
        bench.batcher.add_link(link)
    future = bench.ask("killer")
    for _ in range(2):
        await eventually(lambda: any(link.held for link in links))
        next(link for link in links if link.held).die()
    with pytest.raises(NoReplica):
        await asyncio.wait_for(future, TIMEOUT)
    assert sum(len(link.sent) for link in links) == 2
    (alive,) = bench.batcher.links
    alive.manual = False
    assert await get(bench.ask("next", [1.0])) == [2.0]


@pytest.mark.parametrize("told_first", [True, False])
async def test_the_last_replica_lost_answers_everybody_at_once(
    make_bench: Make, make_link: Make, eventually: Wait, told_first: bool
) -> None:
    bench, link = make_bench(), make_link(manual=True)
    bench.batcher.add_link(link)
    futures = [bench.ask("running")]
    await eventually(lambda: link.held)
    futures.append(bench.ask("waiting"))
    link.die()
    if told_first:
        bench.batcher.remove_link(link)
    for future in futures:
        with pytest.raises(NoReplica):
            await asyncio.wait_for(future, TIMEOUT)
    assert bench.queue.waiting_rows == 0
    bench.batcher.remove_link(link)


async def test_losing_a_replica_that_was_never_proven_disturbs_nobody(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(), make_link(manual=True)
    bench.batcher.add_link(link)
    bench.ask("running")
    await eventually(lambda: link.held)
    waiting = bench.ask("waiting", [1.0])
    link.open = False  # it drains: no new batches, but it has not left yet
    bench.batcher.remove_link(make_link("stranger"))
    await turn()
    assert not waiting.done()
    replacement = make_link("replacement")
    bench.batcher.add_link(replacement)
    assert await get(waiting) == [2.0]
    link.answer()
    await turn()


@pytest.mark.parametrize(
    "error", [RuntimeError("cannot decode"), MemoryError(), KeyError("x")], ids=repr
)
async def test_whatever_a_link_raises_is_answered_and_the_slot_is_free_again(
    make_bench: Make, make_link: Make, eventually: Wait, error: Exception, caplog: Any
) -> None:
    bench, link = make_bench(), make_link(manual=True)
    bench.batcher.add_link(link)
    future = bench.ask("a")
    await eventually(lambda: link.held)
    link.fail(error)
    with pytest.raises(ModelFailed, match="could not be asked") as caught:
        await asyncio.wait_for(future, TIMEOUT)
    assert "cannot decode" not in caught.value.message
    assert "a batch could not be sent to r0, or its answer could not be read" in caplog.text
    link.manual = False
    assert await get(bench.ask("b", [1.0])) == [2.0]


async def test_an_error_of_the_replica_goes_to_the_whole_batch(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(), make_link(manual=True)
    bench.batcher.add_link(link)
    futures = [bench.ask("a"), bench.ask("b")]
    await eventually(lambda: link.held)
    link.fail(ModelFailed("no memory on the device"))
    for future in futures:
        with pytest.raises(ModelFailed, match="no memory"):
            await asyncio.wait_for(future, TIMEOUT)


async def test_failed_requests_fail_alone(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(), make_link(manual=True)
    bench.batcher.add_link(link)
    futures = [bench.ask(str(i), [float(i)] * (i + 1)) for i in range(4)]
    await eventually(lambda: link.held)
    kept = np.array([[0.0], [2], [2], [2]], np.float32)
    link.answer(failed={1: "poison", 3: "poison"}, outputs={"y": kept})
    assert await get(futures[0]) == [0.0]
    assert await get(futures[2]) == [2.0, 2.0, 2.0]
    for index in (1, 3):
        with pytest.raises(ModelFailed, match="poison"):
            await futures[index]
    ((batch, result),) = bench.observer.of("answered")
    assert [i.id for i in batch.items] == ["0", "1", "2", "3"]
    assert result.meta.failed.keys() == {1, 3}


@pytest.mark.parametrize(
    "wrong",
    [
        {"outputs": {"y": np.zeros((2, 1), np.float32)}},
        {"outputs": {"y": np.zeros((4, 1), np.float32)}},
        {"outputs": {"y": np.float32(1) + np.zeros((), np.float32)}},
        {"failed": {0: "poison"}},
        {"failed": {9: "poison"}},
        {"guards": (GuardResult("g", ((0, Action.REJECT, "no"), (9, Action.REJECT, "no"))),)},
        {"response_parameters": {-1: ResponseParameters({}, {})}},
    ],
    ids=[
        "short",
        "long",
        "scalar",
        "failed but there",
        "no such request",
        "no such row",
        "a remark on no request",
    ],
)
async def test_a_reply_that_does_not_fit_gives_nobody_another_s_answer(
    make_bench: Make, make_link: Make, eventually: Wait, wrong: dict[str, Any]
) -> None:
    bench, link = make_bench(), make_link(manual=True)
    bench.batcher.add_link(link)
    futures = [bench.ask("a", [1.0]), bench.ask("b", [2.0, 3.0])]
    await eventually(lambda: link.held)
    link.answer(**wrong)
    for future in futures:
        with pytest.raises(ModelFailed, match="could not be asked"):
            await asyncio.wait_for(future, TIMEOUT)
    await turn()
    assert not bench.observer.of("answered")
    link.manual = False
    assert await get(bench.ask("c", [1.0])) == [2.0]


async def test_a_broken_observer_costs_no_answer(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench = make_bench([Limit(Action.FLAG)])
    bench.observer.broken = True
    dying, link = make_link("dying", manual=True), make_link("link", manual=True)
    bench.batcher.add_link(dying)
    futures = [bench.ask("a", [1.0]), bench.ask("b", [200.0])]
    await eventually(lambda: dying.held)
    bench.batcher.add_link(link)
    dying.die()
    await eventually(lambda: link.held)
    link.answer(guards=(GuardResult("model guard", ((0, Action.FLAG, "why"),)),))
    assert [await get(future) for future in futures] == [[2.0], [400.0]]


# -- guards -----------------------------------------------------------------------------------


class Limit:
    """Does `action` to rows above 100."""

    stage = Stage.INPUT
    needs = Needs(inputs=True)

    def __init__(self, action: Action, name: str = "limit") -> None:
        self.name = name
        self.action = action
        self.batches = 0
        self.error: Exception | None = None

    def check(self, rows: Rows) -> Decisions:
        self.batches += 1
        if self.error:
            raise self.error
        hit = np.flatnonzero(rows.inputs["x"][:, 0] > 100)
        action = np.zeros(rows.n, np.uint8)
        action[hit] = self.action
        return Decisions(self.name, action, {int(row): f"row {row} is too large" for row in hit})


async def test_a_rejected_request_does_not_reach_the_replica(
    make_bench: Make, make_link: Make
) -> None:
    guard = Limit(Action.REJECT)
    bench, link = make_bench([guard]), make_link()
    bench.batcher.add_link(link)
    good, bad, also = (
        bench.ask("good", [1.0]), bench.ask("bad", [2.0, 500.0, 600.0]), bench.ask("also", [3.0]),
    )  # fmt: skip
    assert [await get(good), await get(also)] == [[2.0], [6.0]]
    with pytest.raises(GuardRejected, match="guard 'limit': row 2 is too large"):
        await asyncio.wait_for(bad, TIMEOUT)
    assert link.sent == [["good", "also"]]
    assert guard.batches == 1
    ((result,),) = bench.observer.of("guards_judged")
    assert [row[0] for row in result.rows] == [2, 3]


async def test_a_batch_rejected_as_a_whole_leaves_the_slot_to_the_next(
    make_bench: Make, make_link: Make
) -> None:
    bench, link = make_bench([Limit(Action.REJECT), Limit(Action.REJECT, "other")]), make_link()
    bench.batcher.add_link(link)
    with pytest.raises(GuardRejected):
        await asyncio.wait_for(bench.ask("bad", [500.0]), TIMEOUT)
    assert (link.sent, link.busy) == ([], 0)
    assert await get(bench.ask("good", [1.0])) == [2.0]


@pytest.mark.parametrize(("action", "flags"), [(Action.FLAG, ["limit"]), (Action.SHADOW, [])])
async def test_flag_and_shadow_let_the_answer_through(
    make_bench: Make, make_link: Make, action: Action, flags: list[str]
) -> None:
    bench = make_bench([Limit(action)])
    bench.batcher.add_link(make_link())
    future, clean = bench.ask("a", [500.0, 600.0]), bench.ask("b", [1.0])
    assert (await asyncio.wait_for(future, TIMEOUT)).flags == flags
    assert (await clean).flags == []
    ((result,),) = bench.observer.of("guards_judged")
    assert [row[1] for row in result.rows] == [action, action]


async def test_model_guards_reject_and_flag_by_row_of_the_batch(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(), make_link(manual=True)
    bench.batcher.add_link(link)
    futures = [bench.ask(str(i), [float(i)] * 2) for i in range(3)]
    await eventually(lambda: link.held)
    rows = ((2, Action.FLAG, "odd"), (5, Action.REJECT, "foreign"))
    link.answer(guards=(GuardResult("g", rows),))
    assert await get(futures[0]) == [0.0, 0.0]
    assert (await futures[1]).flags == ["g"]
    with pytest.raises(GuardRejected, match="foreign"):
        await futures[2]


async def test_a_guard_that_raises_lets_requests_pass(
    make_bench: Make, make_link: Make, caplog: Any
) -> None:
    guard = Limit(Action.REJECT)
    guard.error = RuntimeError("the guard is broken")
    bench = make_bench([guard])
    bench.batcher.add_link(make_link())
    assert await get(bench.ask("a", [500.0])) == [1000.0]
    assert "guard 'limit' raised" in caplog.text


# -- the end ----------------------------------------------------------------------------------


async def test_retire_waits_for_what_was_admitted(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    bench, link = make_bench(), make_link(manual=True)
    idle: list[int] = []
    bench.batcher.add_link(link)
    futures = [bench.ask("a", [1.0])]
    await eventually(lambda: link.held)
    futures.append(bench.ask("b", [2.0]))
    bench.batcher.retire(lambda: idle.append(1))
    link.answer()
    await eventually(lambda: link.held)
    assert not idle
    link.answer()
    assert [await get(future) for future in futures] == [[2.0], [4.0]]
    await eventually(lambda: idle == [1])


async def test_retire_is_done_at_once_when_idle_and_when_the_replica_dies(
    make_bench: Make, make_link: Make, eventually: Wait
) -> None:
    idle: list[int] = []
    make_bench().batcher.retire(lambda: idle.append(1))
    assert idle == [1]
    bench, link = make_bench(), make_link(manual=True)
    bench.batcher.add_link(link)
    future = bench.ask("a")
    await eventually(lambda: link.held)
    bench.batcher.retire(lambda: idle.append(2))
    link.die()
    with pytest.raises(NoReplica):
        await asyncio.wait_for(future, TIMEOUT)
    await eventually(lambda: idle == [1, 2])


async def test_no_task_is_left_behind(make_bench: Make, make_link: Make) -> None:
    before = asyncio.all_tasks()
    bench, link = make_bench(), make_link()
    bench.batcher.add_link(link)
    await asyncio.gather(*[get(bench.ask(str(index))) for index in range(20)])
    await turn()
    assert asyncio.all_tasks() == before


async def test_one_answer_that_cannot_be_passed_on_spoils_no_other(
    make_bench: Make, make_link: Make, eventually: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    bench, link = make_bench(), make_link()
    link.manual = True
    bench.batcher.add_link(link)
    futures = [bench.ask(name, [value]) for name, value in (("bad", 1.0), ("good", 2.0))]
    bench.items[0].on_done = lambda: 1 / 0
    await eventually(lambda: link.held)
    link.answer()
    assert await get(futures[1]) == [4.0]
    assert "an answer was not passed on to its client" in caplog.text
