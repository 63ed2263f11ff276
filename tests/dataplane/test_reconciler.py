"""Models and revisions that come, go, fail and come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from serving import errors
from serving.channel.messages.directory import Directory
from serving.channel.messages.reports import CandidateStanding
from serving.dataplane.handler import DataPlane
from serving.telemetry.metrics.inference import SLO_OBJECTIVE

Wait = Callable[[Callable[[], object]], Awaitable[None]]


async def test_a_removed_model_finishes_what_it_admitted(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait, ask: Any
) -> None:
    replica = await make_replica()
    plane.apply(Directory(1, (served(),), (replica.member(),)))
    await eventually(lambda: plane.ready()[0])
    replica.hold = True
    under_way = asyncio.create_task(ask(plane, value=1.0))
    await eventually(lambda: replica.held)
    waiting = asyncio.create_task(ask(plane, value=2.0))
    await asyncio.sleep(0)
    plane.apply(Directory(2, (), (replica.member(),)))
    with pytest.raises(errors.ModelNotFound):
        await ask(plane)
    replica.release()
    assert [await under_way, await waiting] == [2.0, 4.0]
    await eventually(lambda: not replica.server.connections)


async def test_requests_of_a_removed_model_are_answered_when_its_replica_dies(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait, ask: Any
) -> None:
    replica = await make_replica()
    plane.apply(Directory(1, (served(),), (replica.member(),)))
    await eventually(lambda: plane.ready()[0])
    replica.hold = True
    tasks = [asyncio.create_task(ask(plane))]
    await eventually(lambda: replica.held)
    tasks.append(asyncio.create_task(ask(plane)))
    await asyncio.sleep(0)
    plane.apply(Directory(2))
    replica.cut()
    for task in tasks:
        with pytest.raises(errors.NoReplica):
            await task


async def lose_the_last(plane: DataPlane, served: Any, make_replica: Any, eventually: Wait) -> Any:
    """Lose the replica that is linked, while the proof of another one takes long; returns that.

    So it is where another gateway has proven that one, and has taken this one by a request that
    ends replicas.
    """
    first, second = await make_replica(), await make_replica()
    model = served(replicas={"min": 2})
    plane.apply(Directory(1, (model,), (first.member(),)))
    await eventually(lambda: plane.ready()[0])
    second.hold = True
    member = second.member(ident="r1")
    plane.apply(Directory(2, (model,), (first.member(), member)))
    await eventually(lambda: second.held)
    plane.apply(Directory(3, (model,), (member,)))
    first.cut()
    await eventually(lambda: not plane.ready()[0])
    return second


async def test_requests_wait_for_the_proof_of_another_replica(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait, ask: Any
) -> None:
    second = await lose_the_last(plane, served, make_replica, eventually)
    asked = [asyncio.create_task(ask(plane, value=float(value))) for value in range(3)]
    (entry,) = plane.entries()
    await eventually(lambda: entry.queue.waiting_rows == 3)
    second.release()
    assert [await each for each in asked] == [0.0, 2.0, 4.0]


@pytest.mark.parametrize("end", ["close", "unload"])
async def test_who_waits_for_a_replica_is_answered_at_the_end(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait, ask: Any, end: str
) -> None:
    await lose_the_last(plane, served, make_replica, eventually)
    asked = asyncio.create_task(ask(plane))
    (entry,) = plane.entries()
    await eventually(lambda: entry.queue.waiting_rows)
    plane.close() if end == "close" else plane.apply(Directory(4))
    with pytest.raises(errors.NoReplica):
        await asked


async def test_a_model_that_comes_back_is_served_again(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait, ask: Any
) -> None:
    replica = await make_replica()
    full = Directory(1, (served(),), (replica.member(),))
    plane.apply(full)
    await eventually(lambda: plane.ready()[0])
    plane.apply(Directory(2, (), full.members))
    plane.apply(full)
    await eventually(lambda: plane.ready()[0])
    assert await ask(plane) == 2.0


async def test_the_objective_shown_is_that_of_the_revision_that_answers(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait
) -> None:
    def shown() -> list[float]:
        return [each.value for each in plane.snapshot() if each.name == SLO_OBJECTIVE.name]

    for generation, slo, expected in (
        (1, {"availability": 0.99}, [0.99]),
        (2, {"availability": 0.9}, [0.9]),
        (3, None, []),
        (4, {"availability": 0.99}, [0.99]),
    ):
        revision = msgspec.structs.replace(served(slo=slo), revision=f"r{generation}")
        plane.apply(Directory(generation, (revision,)))
        assert shown() == expected
    plane.apply(Directory(5))
    await eventually(lambda: not shown())


async def test_a_model_removed_while_its_replica_is_proved(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait
) -> None:
    replica = await make_replica()
    replica.hold = True
    plane.apply(Directory(1, (served(),), (replica.member(),)))
    await eventually(lambda: replica.held)
    plane.apply(Directory(2))
    replica.release()
    await eventually(lambda: not replica.server.connections)
    assert plane.entries() == []


@pytest.mark.parametrize(
    "bad",
    [
        {"example": b'{"inputs": [{"name": "x", "shape": [1, 9], "datatype": "FP32"}]}'},
        {"example": b"not JSON"},
    ],
    ids=["other shape", "no JSON"],
)
async def test_a_model_that_cannot_be_set_up_does_not_keep_others_from_being_served(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait, bad: Any, caplog: Any
) -> None:
    directory = Directory(1, (served("bad", **bad), served()), ())
    plane.apply(directory)
    plane.apply(directory)
    plane.add_link("m", "1", make_link())
    await eventually(lambda: plane.resolve("m").ready)
    ready, reasons = plane.ready()
    assert not ready
    assert [reason[:12] for reason in reasons] == ["model 'bad':"]
    assert caplog.text.count("this gateway cannot serve a version") == 1
    with pytest.raises(errors.ModelNotFound):
        plane.resolve("bad")
    plane.apply(Directory(2, (served(),)))
    assert plane.ready() == (True, [])


async def test_whoever_waits_learns_that_the_instance_is_about_to_stop(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait
) -> None:
    plane.apply(Directory(1, (served(),)))
    plane.add_link("m", "1", make_link())
    await eventually(lambda: plane.ready()[0])
    told: list[tuple[bool, list[str]]] = []
    plane.readiness.on_change = lambda: told.append(plane.ready())
    changed = plane.readiness.changed
    plane.apply(Directory(2, (served(),)))
    assert (changed.done(), told) == (True, [])  # the control plane knows what it has said
    changed = plane.readiness.changed
    plane.apply(Directory(3, (served(),), leaving=True))
    assert changed.done()
    assert [ready for ready, _ in told] == [False]


async def test_a_candidate_answers_nobody_until_it_is_taken_in(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait, ask: Any
) -> None:
    old, new = (msgspec.structs.replace(served(), revision=name) for name in ("old", "new"))
    plane.apply(Directory(1, (old,), ()))
    first, second = make_link("r-old", manual=True), make_link("r-new")
    plane.add_link("m", "1", first, "old")
    await eventually(lambda: first.held)
    first.answer()
    await eventually(lambda: plane.ready()[0])
    plane.apply(Directory(2, (old,), (), (new,)))
    assert plane.status().candidates == (
        CandidateStanding("m", "1", "new", "LOADING", "no replica yet"),
    )
    plane.add_link("m", "1", second, "new")
    await eventually(lambda: plane.status().candidates[0].state == "READY")
    admitted = asyncio.ensure_future(ask(plane))
    await eventually(lambda: first.held)
    assert len(second.batches) == 1  # the proof
    told: list[object] = []
    plane.reconciler.on_follow = lambda: told.append(plane.status().retiring)
    plane.apply(Directory(3, (new,), ()))
    assert await ask(plane) == 2.0
    assert len(second.batches) == 2
    # The old one still answers what it had taken.
    assert told == [(("m", "1", "old"),)]
    first.answer()
    assert await admitted == 2.0
    await eventually(lambda: told[-1] == ())


async def test_a_candidate_that_fails_its_example_is_told_and_dropped(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait, ask: Any
) -> None:
    old, new = (msgspec.structs.replace(served(), revision=name) for name in ("old", "new"))
    plane.apply(Directory(1, (old,), ()))
    plane.add_link("m", "1", make_link(), "old")
    await eventually(lambda: plane.ready()[0])
    plane.apply(Directory(2, (old,), (), (new,)))
    broken = make_link(manual=True)
    plane.add_link("m", "1", broken, "new")
    await eventually(lambda: broken.held)
    broken.answer(failed={0: "oh"}, outputs={})
    said = (
        "without an example, a row of zeros fails: oh; name a request that it answers by `example`"
    )
    wanted = (CandidateStanding("m", "1", "new", "UNAVAILABLE", said),)
    await eventually(lambda: plane.status().candidates == wanted)
    plane.apply(Directory(3, (old,), ()))
    assert plane.status().candidates == ()
    assert await ask(plane) == 2.0


async def test_a_revision_that_cannot_answer_yet_does_not_replace_one_that_can(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait, ask: Any
) -> None:
    old, new = (msgspec.structs.replace(served(), revision=name) for name in ("old", "new"))
    plane.apply(Directory(1, (old,), ()))
    plane.add_link("m", "1", make_link(), "old")
    await eventually(lambda: plane.ready()[0])
    # As after a time without the control plane: what lay between was never seen.
    plane.apply(Directory(7, (new,), ()))
    assert plane.resolve("m").key == ("m", "1", "old")
    assert await ask(plane) == 2.0
    plane.add_link("m", "1", make_link(), "new")
    await eventually(lambda: plane.resolve("m").key == ("m", "1", "new"))
    assert await ask(plane) == 2.0
