"""Every request of a served version leads to one record, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from guards.decisions import Action
from serving.access.principals import Principal
from serving.channel.messages.directory import Directory, ServedModel
from serving.channel.messages.inference import GuardResult, ResponseParameters
from serving.dataplane.batching import replacement
from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane, Ticket
from serving.dataplane.hooks.failures import outcome_of
from serving.dataplane.hooks.records import BatchDone, RequestDone
from serving.dataplane.requests.decisions import RowDecision
from serving.errors import (
    ClientGone,
    DeadlineExceeded,
    GuardRejected,
    InvalidInput,
    ModelFailed,
    NoReplica,
    QueueFull,
    VigilError,
)
from serving.protocol.messages import InferRequest, Tensor

Wait = Callable[[Callable[[], object]], Awaitable[None]]
Make = Callable[..., Any]
TIMEOUT_S = 60
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BATCHING = {"max_batch_size": 3, "max_queue_rows": 8}
GUARDS = [{"name": "schema", "action": "reject"}]


class World:
    """A served version with one replica that answers when told, and all that is recorded."""

    def __init__(self, plane: DataPlane, link: Any, records: Any) -> None:
        self.plane, self.link, self.records = plane, link, records
        self.entry = plane.resolve("m")
        recorder = self.entry.recorder
        recorder.batch_hooks = (*recorder.batch_hooks, records)
        recorder.refusal_hooks = (*recorder.refusal_hooks, records)

    def begin(self, ident: str, *values: float, **context: Any) -> Ticket:
        data = np.repeat(np.asarray(values, np.float32)[:, None], 2, axis=1)
        request = InferRequest("m", "", ident, (Tensor("x", "FP32", data.shape, data),))
        return self.plane.begin(request, RequestContext(traceparent=TRACE.encode(), **context))

    async def end(self, ticket: Ticket) -> Any:
        await asyncio.wait({ticket.item.future}, timeout=TIMEOUT_S)
        return ticket.endpoint.finish(ticket)

    def endings(self) -> dict[str, list[str]]:
        """Return how each request ended, by each record that says so."""
        found: dict[str, list[str]] = {}
        for done in self.records.batches:
            for request in done.requests:
                if not request.refused:
                    found.setdefault(request.client_id, []).append(request.outcome)
        for refused in self.records.refusals:
            found.setdefault(refused.client_id, []).append(refused.failure.outcome)
        return found

    def done(self, ident: str) -> tuple[BatchDone, RequestDone]:
        [found] = [
            (done, request)
            for done in self.records.batches
            for request in done.requests
            if request.client_id == ident
        ]
        return found


@pytest.fixture
async def make_world(
    make_config: Make, make_link: Make, records: Any, eventually: Wait
) -> AsyncIterator[Callable[..., Awaitable[World]]]:
    plane = DataPlane("g")

    async def make(**changes: Any) -> World:
        config = make_config(**{"batching": BATCHING, "guards": GUARDS, **changes})
        served = ServedModel("m", "1", config.model_dump_json().encode(), "nowhere", None, "rev")
        plane.apply(Directory(1, (served,)))
        link = make_link()
        plane.add_link("m", "1", link, "rev")
        await eventually(lambda: plane.ready()[0])
        link.manual = True
        return World(plane, link, records)

    yield make
    plane.close()


def test_single_events_are_counted(make_recorder: Make) -> None:
    recorder, told = make_recorder(), []

    class Counters:
        guards = SimpleNamespace(judged=lambda results: told.append(("judged", results)))

        def __getattr__(self, name: str) -> Any:
            return lambda *given: told.append((name, *given))

    recorder._counters = Counters()
    recorder.guards_judged(())
    recorder.retried(3)
    recorder.deadly()
    recorder.abandoned("gone", 5)
    assert told == [("judged", ()), ("retried", 3), ("deadly",), ("abandoned", "gone", 5)]


async def fails(world: World, error: type[VigilError], ticket: Ticket) -> None:
    with pytest.raises(error):
        await world.end(ticket)


async def test_what_a_batch_answers_is_in_its_record(make_world: Any, eventually: Wait) -> None:
    world = await make_world(batching={"max_batch_size": 8}, log={"capture": "full"})
    tickets = {
        ident: world.begin(ident, *values, principal=Principal("ana"))
        for ident, values in (
            ("ok", (1.0,)), ("infinite", (np.inf,)), ("failed", (2.0, 2.5)),
            ("rejected", (3.0, 3.5)), ("late", (4.0,)), ("gone", (5.0,)),
        )
    }  # fmt: skip
    await eventually(lambda: world.link.held)
    await fails(world, GuardRejected, tickets["infinite"])  # by the gateway's guard: never sent
    tickets["gone"].cancel()
    tickets["gone"].cancel()
    tickets["late"].item.fail(DeadlineExceeded("too late"))
    await fails(world, DeadlineExceeded, tickets["late"])
    kept = np.float32([[2, 2], [6, 6], [7, 7], [8, 8], [10, 10]])
    decisions = ((4, Action.REJECT, "odd"), (0, Action.FLAG, "far"))
    world.link.answer(
        failed={1: "no"}, outputs={"y": kept}, guards=(GuardResult("schema", decisions),)
    )
    assert (await world.end(tickets["ok"])).outputs[0].data.tolist() == [[2, 2]]
    await fails(world, ModelFailed, tickets["failed"])
    await fails(world, GuardRejected, tickets["rejected"])
    await eventually(lambda: world.records.batches)
    assert world.endings() == {
        "ok": ["ok"], "infinite": ["rejected"], "failed": ["failed"], "rejected": ["rejected"],
        "late": ["deadline"], "gone": ["abandoned"],
    }  # fmt: skip
    (done,) = world.records.batches
    assert (done.model, done.version, done.revision) == ("m", "1", "rev")
    assert (done.rows, done.output_rows, done.failures) == (7, 5, 2)
    assert done.formed <= done.ended <= done.answered
    assert done.rest_ns == int((done.ended - done.formed) * 1e9) - done.compute_ns
    assert abs(done.time - time.time()) < 60
    places = {r.client_id: (r.row, r.output_row) for r in done.requests}
    assert places == {
        "ok": (0, 0), "failed": (1, -1), "rejected": (3, 1), "late": (5, 3), "gone": (6, 4),
    }  # fmt: skip
    for request in done.requests:
        rows = slice(request.row, request.row + request.bound.rows)
        assert done.inputs()["x"][rows].tolist() == request.bound.arrays[0].tolist()
        assert (request.context.trace, request.context.principal.name) == (TRACE, "ana")
        assert request.queue_s >= 0
    by_id = {request.client_id: request for request in done.requests}
    assert by_id["ok"].decisions == (RowDecision("schema", 0, Action.FLAG, "far"),)
    assert by_id["ok"].flags == ["schema"]
    assert by_id["rejected"].decisions == (RowDecision("schema", 1, Action.REJECT, "odd"),)
    assert [by_id[ident].outcome for ident in ("late", "gone")] == ["deadline", "abandoned"]
    failure = by_id["failed"].failure
    assert failure is not None
    assert (failure.kind, failure.status, failure.message) == ("ModelFailed", 500, "no")
    (infinite,) = [r for r in world.records.refusals if r.client_id == "infinite"]
    assert (infinite.failure.kind, infinite.failure.status, infinite.rows) == (
        "GuardRejected", 422, 1,
    )  # fmt: skip
    assert [each.row for each in infinite.decisions] == [0]
    assert (infinite.context.trace, infinite.context.principal.name) == (TRACE, "ana")
    assert infinite.revision == "rev"
    assert infinite.waited_s >= 0
    assert infinite.fitting is not None
    assert (infinite.fitting.rows, infinite.fitting.inputs["x"].tolist()) == (1, [[np.inf] * 2])
    ids = [done.id, *(refused.id for refused in world.records.refusals)]
    assert len(set(ids)) == 4


def scored(guard: str, *scores: float) -> GuardResult:
    return GuardResult(guard, (), scores=np.float32(scores).tobytes())


async def test_scores_of_all_guards_stand_at_the_rows_that_they_are_of(
    make_world: Any, eventually: Wait
) -> None:
    world = await make_world(batching={"max_batch_size": 8})
    tickets = [world.begin(ident, *values) for ident, values in
               (("a", (1.0,)), ("failed", (2.0, 2.5)), ("c", (3.0, 3.5)))]  # fmt: skip
    await eventually(lambda: world.link.held)
    batch, _ = world.link.held[0]
    world.entry.recorder.guards_judged((scored("here", 7, 8, 9, 10, 11),))
    batch.items[1].scored("here", np.float32([8, 9]))  # its guard was skipped for the others
    kept = np.float32([[2, 2], [6, 6], [7, 7]])
    world.link.answer(
        failed={1: "no"}, outputs={"y": kept},
        guards=(scored("far", 0.5, 1.5, 2.5), GuardResult("schema", ())),
    )  # fmt: skip
    await asyncio.wait([ticket.item.future for ticket in tickets], timeout=TIMEOUT_S)
    await eventually(lambda: world.records.batches)
    (done,) = world.records.batches
    assert done.scores is not None
    assert done.scores.keys() == {"far", "here"}
    nan = np.nan
    np.testing.assert_array_equal(done.scores["far"], np.float32([0.5, nan, nan, 1.5, 2.5]))
    np.testing.assert_array_equal(done.scores["here"], np.float32([nan, 8, 9, nan, nan]))
    with pytest.raises(ModelFailed):
        await world.end(tickets[1])


async def test_a_batch_that_nobody_scored_has_none(make_world: Any, eventually: Wait) -> None:
    world = await make_world()
    ticket = world.begin("a", 1.0)
    await eventually(lambda: world.link.held)
    world.link.answer(guards=(GuardResult("schema", ()),))
    await world.end(ticket)
    await eventually(lambda: world.records.batches)
    assert world.records.batches[0].scores is None


async def test_a_request_in_parts_has_the_scores_of_its_parts(
    make_world: Any, eventually: Wait
) -> None:
    world = await make_world(batching={"max_batch_size": 2})
    whole, small = world.begin("whole", 1.0, 2.0, 3.0, 4.0, 5.0), world.begin("small", 9.0)
    for guards in ((scored("far", 1, 2),), (GuardResult("far", ()),), (scored("far", 5, 9),)):
        await eventually(lambda: world.link.held)
        world.link.answer(guards=guards)
    await world.end(whole)
    await world.end(small)
    await eventually(lambda: len(world.records.batches) == 4)
    done, _ = world.done("whole")
    assert done.scores is not None
    np.testing.assert_array_equal(done.scores["far"], np.float32([1, 2, np.nan, np.nan, 5]))
    done, request = world.done("small")
    assert done.scores is not None
    assert done.scores["far"][request.row] == 9


async def test_a_request_in_parts_keeps_what_the_gateway_scored_beside_others(
    make_world: Any, eventually: Wait
) -> None:
    world = await make_world(batching={"max_batch_size": 2})
    world.entry.recorder.guards_judged((scored("here", 7),))  # that there is such a guard
    whole, small = world.begin("whole", 1.0, 2.0, 3.0), world.begin("small", 9.0)
    for scores in ([1, 2], [3, 9]):
        await eventually(lambda: world.link.held)
        batch, _ = world.link.held[0]
        of_each = np.split(np.float32(scores), batch.rows[:-1])
        for item, own in zip(batch.items, of_each, strict=True):
            item.scored("here", own)
        world.link.answer(guards=(GuardResult("far", ()),))
    await world.end(whole)
    await world.end(small)
    await eventually(lambda: len(world.records.batches) == 3)
    done, _ = world.done("whole")
    assert done.scores is not None
    assert done.scores["here"].tolist() == [1, 2, 3]
    done, request = world.done("small")
    assert done.scores is not None
    assert done.scores["here"][request.row] == 9


async def test_what_no_batch_answers_is_a_refusal(
    make_world: Any, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replacement, "RETURN_S", 0.01)  # no replica comes after the lost one
    world = await make_world(log={"capture": "full"})
    expected: Counter[tuple[str, str, str]] = Counter()

    def expect(ident: str, kind: str, outcome: str) -> None:
        expected[ident, kind, outcome] += 1

    with pytest.raises(InvalidInput):
        world.plane.begin(InferRequest("m", "", "unbound", ()))
    expect("unbound", "InvalidInput", "invalid")
    with pytest.raises(DeadlineExceeded):
        world.begin("too late", 1.0, deadline=0.0)
    expect("too late", "DeadlineExceeded", "deadline")
    computing = world.begin("computing", 1.0)
    await eventually(lambda: world.link.held)
    waiting = world.begin("waiting", *[1.0] * 3, deadline=time.monotonic() + 0.02)
    left = world.begin("left", *[1.0] * 3)
    found_out = world.begin("found out", 1.0)
    with pytest.raises(QueueFull):
        world.begin("no room", 1.0, 2.0)
    expect("no room", "QueueFull", "overloaded")
    world.plane.refuse_unread(world.entry, 0.5)
    expect("", "QueueFull", "overloaded")
    await fails(world, DeadlineExceeded, waiting)
    expect("waiting", "DeadlineExceeded", "deadline")
    left.cancel()
    expect("left", "ClientGone", "abandoned")
    found_out.item.fail(ClientGone("gone"))
    await fails(world, ClientGone, found_out)
    expect("found out", "ClientGone", "abandoned")
    world.link.fail(ModelFailed("no memory"))  # the batch as a whole
    await fails(world, ModelFailed, computing)
    expect("computing", "ModelFailed", "failed")
    misfit = world.begin("misfit", 1.0)
    await eventually(lambda: world.link.held)
    world.link.answer(outputs={"y": np.zeros((5, 2), np.float32)})
    await fails(world, ModelFailed, misfit)
    expect("misfit", "ModelFailed", "failed")
    lost = world.begin("lost", 1.0)
    await eventually(lambda: world.link.held)
    world.link.die()
    await fails(world, NoReplica, lost)
    expect("lost", "NoReplica", "unavailable")
    with pytest.raises(NoReplica):
        world.begin("nobody", 1.0)
    expect("nobody", "NoReplica", "unavailable")
    told = Counter((r.client_id, r.failure.kind, r.failure.outcome) for r in world.records.refusals)
    assert told == expected
    assert not world.records.batches
    (unread,) = [r for r in world.records.refusals if not r.client_id]
    assert (unread.waited_s, unread.rows, unread.failure.status) == (0.5, 0, 503)
    # Only where they may be the reason: to tell of what waited in vain would make the load worse.
    told_inputs = {r.client_id for r in world.records.refusals if r.fitting is not None}
    assert told_inputs == {"computing", "misfit"}


async def test_a_refused_request_has_the_scores_of_the_gateway(
    make_world: Any, eventually: Wait
) -> None:
    world = await make_world()
    ticket = world.begin("scored", 1.0, 2.0)
    await eventually(lambda: world.link.held)
    ticket.item.scored("here", np.float32([1, 2]))
    world.link.fail(ModelFailed("no memory"))
    await fails(world, ModelFailed, ticket)
    (refused,) = world.records.refusals
    assert refused.scores is not None
    assert refused.scores["here"].tolist() == [1, 2]


@pytest.mark.parametrize("log", [None, {"capture": "full"}, {"capture": "none"}])
async def test_of_a_request_that_does_not_fit_a_log_gets_what_does(
    make_world: Any, log: Any
) -> None:
    world = await make_world(log=log)
    x = Tensor("x", "FP32", (2, 2), np.ones((2, 2), np.float32))
    with pytest.raises(InvalidInput):
        world.plane.begin(InferRequest("m", "", "r", (x, Tensor("z", "FP32", (2, 2), x.data))))
    (refused,) = world.records.refusals
    if log is None:
        assert (refused.rows, refused.fitting) == (0, None)
    else:
        assert (refused.rows, refused.fitting.rows) == (2, 2)
        assert refused.fitting.inputs["x"] is x.data


async def test_that_nobody_can_tell_what_fits_changes_no_answer(
    make_world: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = await make_world(log={"capture": "full"})

    def fitting(_request: InferRequest) -> None:
        raise MemoryError

    monkeypatch.setattr(world.entry.binder, "fitting", fitting)
    with pytest.raises(InvalidInput, match="'x' of model 'm' is missing"):
        world.plane.begin(InferRequest("m", "", "r", ()))
    (refused,) = world.records.refusals
    assert (refused.client_id, refused.rows, refused.fitting) == ("r", 0, None)
    assert "what fits the model of a request that was refused is not known" in caplog.text


@pytest.mark.parametrize("how", ["answered", "late"])
async def test_who_leaves_in_the_turn_of_the_answer_has_one_record(
    make_world: Any, eventually: Wait, how: str
) -> None:
    world = await make_world()
    request = InferRequest("m", "", "r", (Tensor("x", "FP32", (1, 2), np.ones((1, 2), "f")),))
    task = asyncio.create_task(world.plane.infer(request))
    await eventually(lambda: world.link.held)
    (item,) = world.link.batches[-1].items
    if how == "answered":
        item.answer({"y": np.zeros((1, 2), np.float32)})
    else:
        item.fail(DeadlineExceeded("too late"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    world.link.answer()
    await eventually(lambda: world.records.batches)
    assert world.endings() == {"r": ["ok" if how == "answered" else "deadline"]}


async def test_a_request_in_parts_has_one_record(make_world: Any, eventually: Wait) -> None:
    world = await make_world(batching={"max_batch_size": 2})
    link = world.link
    whole, small = world.begin("whole", 1.0, 2.0, 3.0, 4.0, 5.0), world.begin("small", 9.0)
    for guards in ((), (GuardResult("schema", ((1, Action.FLAG, "far"),)),), ()):
        await eventually(lambda: link.held)
        link.answer(guards=guards)
    await world.end(whole)
    await world.end(small)
    await eventually(lambda: len(world.records.batches) == 4)
    assert world.endings() == {"whole": ["ok"], "small": ["ok"]}
    done, request = world.done("whole")
    assert (done.split, done.rows, done.output_rows, request.row) == (True, 5, 5, 0)
    assert done.inputs()["x"][:, 0].tolist() == [1, 2, 3, 4, 5]
    assert done.outputs["y"][:, 0].tolist() == [2, 4, 6, 8, 10]
    assert request.decisions == (RowDecision("schema", 3, Action.FLAG, "far"),)
    assert request.flags == ["schema"]
    assert done.formed <= done.ended <= done.answered
    with_parts, _ = world.done("small")
    assert (with_parts.split, with_parts.rows, len(with_parts.requests)) == (False, 2, 1)
    assert request.queue_s <= with_parts.formed - request.arrived  # until the first part left


@pytest.mark.parametrize("how", ["failed", "rejected"])
async def test_a_request_of_which_a_part_fails_has_one_record(
    make_world: Any, eventually: Wait, how: str
) -> None:
    world = await make_world(batching={"max_batch_size": 2})
    whole = world.begin("whole", 1.0, 2.0, 3.0)
    await eventually(lambda: world.link.held)
    if how == "failed":
        world.link.answer(failed={0: "no"}, outputs={})
    else:
        world.link.answer(guards=(GuardResult("schema", ((1, Action.REJECT, "odd"),)),))
    await fails(world, ModelFailed if how == "failed" else GuardRejected, whole)
    await eventually(lambda: not world.entry.queue.waiting_rows)
    await eventually(lambda: len(world.records.batches) == 2)
    assert world.endings() == {"whole": [how]}
    done, request = world.done("whole")
    assert (done.split, done.rows, done.output_rows, done.failures) == (True, 3, 0, 1)
    assert request.output_row == -1
    assert [each.row for each in request.decisions] == ([1] if how == "rejected" else [])
    assert not world.records.refusals


async def test_a_later_part_may_fail_before_the_first_is_there(
    make_world: Any, make_link: Make, eventually: Wait
) -> None:
    world = await make_world(batching={"max_batch_size": 2})
    world.entry.batcher.add_link(make_link("other", 2, manual=True))
    whole = world.begin("whole", 1.0, 2.0, 3.0)
    links = world.entry.batcher.links
    await eventually(lambda: sum(len(link.held) for link in links) == 2)
    (second,) = [link for link in links if link.held and link.held[0][0].total == 1]
    second.answer(failed={0: "no"}, outputs={})
    await fails(world, ModelFailed, whole)
    await eventually(lambda: len(world.records.batches) == 2)
    _, request = world.done("whole")
    assert 0 <= request.queue_s < TIMEOUT_S


async def test_a_request_without_rows_has_a_record(make_world: Any, eventually: Wait) -> None:
    world = await make_world()
    ticket = world.begin("empty")
    await world.end(ticket)
    await eventually(lambda: world.records.batches)
    done, request = world.done("empty")
    assert (done.rows, request.bound.rows, request.outcome) == (0, 0, "ok")
    assert done.outputs["y"].shape == (0, 2)
    assert not world.link.held


@pytest.mark.parametrize("seed", range(12))
async def test_there_is_one_record_for_each_request_whatever_happens(
    make_world: Any, make_link: Make, eventually: Wait, seed: int
) -> None:
    """Requests of all sizes come while replicas answer, fail, die and speak nonsense."""
    world = await make_world(batching={**BATCHING, "fair_share": "client"})
    chance = random.Random(seed)
    links = [world.link]
    expected: dict[str, list[str]] = {}
    cancelled: set[str] = set()

    async def ask(ident: str) -> None:
        await asyncio.sleep(chance.random() * 0.2)
        rows = chance.choice([0, 1, 1, 1, 2, 3, 4, 7, 20])
        values = [np.inf if chance.random() < 0.03 else 1.0 for _ in range(rows)]
        deadline = chance.choice([None, None, time.monotonic() + chance.random() * 0.03])
        data = np.repeat(np.asarray(values, np.float32)[:, None], 2, axis=1)
        name = "x" if chance.random() < 0.95 else "z"
        request = InferRequest("m", "", ident, (Tensor(name, "FP32", data.shape, data),))
        context = RequestContext(client=chance.choice("abc"), deadline=deadline)
        try:
            await world.plane.infer(request, context)
        except VigilError as error:
            expected[ident] = [outcome_of(error)]
        except asyncio.CancelledError:
            cancelled.add(ident)
        else:
            expected[ident] = ["ok"]

    def act(link: Any) -> None:
        batch = link.held[0][0]
        what = chance.choice(["answer"] * 4 + ["fail", "flag", "reject", "misfit", "error", "die"])
        if what == "fail":
            at = chance.randrange(len(batch.items))
            left = batch.without([at])
            link.answer(failed={at: "no"}, outputs={"y": left.arrays[0] * 2} if left.items else {})
        elif what in ("flag", "reject"):
            action = Action.FLAG if what == "flag" else Action.REJECT
            row = chance.randrange(batch.total)
            link.answer(guards=(GuardResult("schema", ((row, action, "odd"),)),))
        elif what == "misfit":
            link.answer(failed={0: "no"}, response_parameters={99: ResponseParameters({}, {})})
        elif what == "error":
            link.fail(ModelFailed("no memory"))
        elif what == "die" and len(links) > 1:
            links.remove(link)
            link.die(begun=chance.choice([0, 1, None]))
        else:
            link.answer()

    tasks = [asyncio.create_task(ask(f"r{number}")) for number in range(120)]
    number = 0
    async with asyncio.timeout(TIMEOUT_S):
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0.001)
            if len(links) < 2:
                links.append(make_link(f"l{number}", 2, manual=True))
                number += 1
                world.entry.batcher.add_link(links[-1])
            held = [link for link in links if link.held]
            if held:
                act(chance.choice(held))
            if chance.random() < 0.1:
                chance.choice(tasks).cancel()
        for task in tasks:
            await asyncio.wait({task})
        while any(link.held for link in links):  # parts and batches that nobody waits for
            for link in links:
                if link.held:
                    link.answer()
            await asyncio.sleep(0.001)
    await eventually(lambda: len(world.endings()) == len(expected) + len(cancelled))
    found = world.endings()
    assert {ident: found[ident] for ident in expected} == expected
    # One that left in the turn of its answer may have been answered.
    assert all(len(found[ident]) == 1 for ident in cancelled)
    assert len({outcome for (outcome,) in expected.values()}) >= 5
    done = world.records.batches
    ids = [each.id for each in done] + [each.id for each in world.records.refusals]
    assert len(set(ids)) == len(ids)
    assert [each.id for each in done] == sorted(each.id for each in done)


async def test_a_hook_that_raises_keeps_nobody_from_anything(
    make_world: Any, records: Any, eventually: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def batch_done(self, _done: Any) -> None:
            raise RuntimeError("broken")

        request_refused = batch_done

    world = await make_world()
    recorder = world.entry.recorder
    recorder.batch_hooks = (Broken(), *recorder.batch_hooks)
    recorder.refusal_hooks = (Broken(), *recorder.refusal_hooks)
    world.link.manual = False
    with caplog.at_level(logging.INFO, "vigil"):
        await world.end(world.begin("a", 1.0))
        await eventually(lambda: world.records.batches)
        with pytest.raises(DeadlineExceeded):
            world.begin("b", 1.0, deadline=0.0)
    assert world.endings() == {"a": ["ok"], "b": ["deadline"]}
    said = "Broken could not take in the record of a batch or a request"
    assert [record.message for record in caplog.records].count(said) == 2


async def test_a_failure_leaves_one_line_in_the_log(
    make_world: Any, eventually: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    world = await make_world()
    tickets = [world.begin(ident, 1.0) for ident in "ab"]
    with caplog.at_level(logging.INFO, "vigil"):
        await eventually(lambda: world.link.held)
        world.link.answer(failed={0: "no"}, outputs={"y": np.zeros((1, 2), np.float32)})
        for ticket, error in zip(tickets, (ModelFailed, None), strict=True):
            if error is None:
                await world.end(ticket)
                continue
            with pytest.raises(error) as caught:
                await world.end(ticket)
            assert caught.value.logged  # so no transport logs it again
        await eventually(lambda: world.records.batches)
        with pytest.raises(DeadlineExceeded) as late:
            world.begin("c", 1.0, deadline=0.0)
        assert late.value.logged
    assert [r.message for r in caplog.records] == ["no", late.value.message]
