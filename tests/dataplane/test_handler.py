"""The transport-free handler over fake and real replicas: models come, go, fail and come back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from serving import errors
from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer
from serving.channel.frame_parts import Message
from serving.channel.messages.directory import BrokenModel, Directory, Member, ServedModel
from serving.channel.messages.inference import (
    BatchMeta,
    Passthrough,
    ResponseParameters,
    ResultMeta,
)
from serving.dataplane import handler
from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.protocol.messages import InferRequest, RequestedOutput, Tensor

Wait = Callable[[Callable[[], object]], Awaitable[None]]
FLOOD, OTHER = RequestContext(client="flood"), RequestContext(client="other")


def within(seconds: float) -> RequestContext:
    return RequestContext(deadline=time.monotonic() + seconds)


@pytest.fixture
async def plane() -> AsyncIterator[DataPlane]:
    plane = DataPlane("g")
    yield plane
    plane.close()
    await asyncio.sleep(0.01)


@pytest.fixture
def served(make_config: Callable[..., Any]) -> Callable[..., ServedModel]:
    def make(
        name: str = "m", version: str = "1", example: Any = None, **changes: Any
    ) -> ServedModel:
        config = make_config(**changes).model_dump_json().encode()
        return ServedModel(name, version, config, "nowhere", example)

    return make


def request(name: str = "m", version: str = "", value: float = 1.0, **more: Any) -> InferRequest:
    data = np.full((1, 2), value, np.float32)
    return InferRequest(name, version, "id", (Tensor("x", "FP32", (1, 2), data),), **more)


async def ask(plane: DataPlane, *arguments: Any, **options: Any) -> float:
    async with asyncio.timeout(60):
        response = await plane.infer(request(*arguments, **options))
    return float(response.outputs[0].data[0, 0])


def outcomes(plane: DataPlane) -> dict[str, float]:
    return {
        dict(series.attributes)["outcome"]: series.value
        for series in plane.snapshot()
        if series.name == "vigil.inference.requests" and series.value
    }


class Replica:
    """A replica on a real socket that doubles; `hold` keeps answers back."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.hold = False
        self.held: list[tuple[Connection, Message]] = []
        self.wrong: Any = None
        self.asked = 0
        self.server = ChannelServer(self._message, slots=1)

    def _message(self, connection: Connection, message: Message) -> None:
        self.asked += 1
        if self.hold:
            self.held.append((connection, message))
        else:
            self.answer(connection, message)

    def answer(self, connection: Connection, message: Message) -> None:
        if self.wrong is not None:
            connection.reply(message.id, self.wrong)
            return
        (x,) = message.tensors
        y = Tensor("y", "FP32", x.shape, x.data * 2)
        msgspec.msgpack.decode(message.meta, type=BatchMeta)
        connection.reply(message.id, ResultMeta({}, (), 1, 0), [y])

    def release(self) -> None:
        self.hold = False
        for item in self.held:
            self.answer(*item)
        self.held.clear()

    def member(self, version: str = "1", ident: str = "r0") -> Member:
        return Member("replica", ident, 1, self.address, "m", version, slots=1)

    def cut(self) -> None:
        for connection in list(self.server.connections):
            connection.abort()


@pytest.fixture
async def make_replica(tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[Replica]]]:
    replicas: list[Replica] = []

    async def make() -> Replica:
        replica = Replica(f"unix:{tmp_path}/{len(replicas)}")
        await replica.server.start(replica.address)
        replicas.append(replica)
        return replica

    yield make
    for replica in replicas:
        replica.server.close()
        replica.cut()
    await asyncio.sleep(0.01)


def test_ready_needs_a_directory_and_no_model(plane: DataPlane) -> None:
    assert plane.ready() == (False, ["the hub has not said yet what is served"])
    plane.apply(Directory(1))
    assert plane.ready() == (True, [])


async def test_a_required_model_that_cannot_be_read_holds_readiness(
    plane: DataPlane, served: Any
) -> None:
    broken = (BrokenModel("a", "", "no weights", required=True), BrokenModel("b", "2", "a typo"))
    plane.apply(Directory(1, broken=broken))
    assert plane.ready() == (False, ["model 'a': no weights"])
    plane.apply(Directory(2, models=(served(name="a"),), broken=broken))
    assert plane.ready() == (False, ["model 'a': no replica yet"])


async def test_a_proven_replica_makes_the_model_ready_and_answers(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait
) -> None:
    changes: list[bool] = []
    plane.on_ready_change = lambda: changes.append(plane.ready()[0])
    replica = await make_replica()
    plane.apply(Directory(1, (served(),), ()))
    assert plane.ready() == (False, ["model 'm': no replica yet"])
    with pytest.raises(errors.NoReplica):
        await ask(plane)
    plane.apply(Directory(2, (served(),), (replica.member(),)))
    await eventually(lambda: plane.ready()[0])
    assert changes == [True]
    assert replica.asked == 1  # the proof
    assert await ask(plane, value=4.0) == 8.0
    await eventually(lambda: outcomes(plane) == {"unavailable": 1, "ok": 1})  # a turn later
    replica.server.close()
    replica.cut()
    await eventually(lambda: changes == [True, False])


async def test_unknown_names(plane: DataPlane, served: Any) -> None:
    plane.apply(Directory(1, (served(),), ()))
    with pytest.raises(errors.ModelNotFound, match="Request for unknown model: 'q'"):
        plane.resolve("q")
    with pytest.raises(errors.VersionNotFound, match="it has 1"):
        plane.resolve("m", "2")
    for wrong in ("newest", "-1", "1.0", "²"):
        with pytest.raises(errors.VersionNotFound, match="failed to get model version"):
            plane.resolve("m", wrong)
    with pytest.raises(errors.ModelNotFound) as caught:
        plane.resolve("n" * 10_000)
    assert len(caught.value.message) < 300


async def test_the_newest_ready_version_answers_unless_one_is_named(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait
) -> None:
    plane.apply(Directory(1, tuple(served(version=v) for v in ("2", "10", "9")), ()))
    assert plane.versions("m") == ["2", "9", "10"]
    assert plane.resolve("m").version == "10"  # none is ready: the newest says why
    for version in ("2", "9"):
        plane.add_link("m", version, make_link(version))
    await eventually(lambda: plane.resolve("m").version == "9")
    plane.add_link("m", "10", make_link("10"))
    await eventually(lambda: plane.resolve("m").version == "10")
    assert plane.resolve("m", "2").version == "2"


async def test_only_required_models_hold_up_readiness(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait
) -> None:
    plane.apply(Directory(1, (served(), served("extra", required=False)), ()))
    plane.add_link("m", "1", make_link())
    await eventually(lambda: plane.ready() == (True, []))
    plane.draining = True
    assert plane.ready() == (False, ["the gateway is draining"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"failed": {0: "poison"}, "outputs": {}}, "a row of zeros fails: poison"),
        ({"failed": {7: "elsewhere"}}, "a row of zeros fails: elsewhere"),
        ({"outputs": {}}, "does not give output 'y'"),
    ],
)
async def test_a_replica_that_fails_its_proof_gets_no_traffic(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait, more: Any, words: str
) -> None:
    plane.apply(Directory(1, (served(),), ()))
    link = make_link(manual=True)
    plane.add_link("m", "1", link)
    await eventually(lambda: link.held)
    link.answer(**more)
    await eventually(lambda: words in plane.ready()[1][0])
    assert not plane.resolve("m").queue.links


async def test_a_proof_that_cannot_be_read_is_no_proof_and_is_tried_again(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait,
    monkeypatch: pytest.MonkeyPatch, caplog: Any,
) -> None:  # fmt: skip
    monkeypatch.setattr(handler, "RETRY_S", 0.02)
    replica = await make_replica()
    replica.wrong = "no result at all"
    plane.apply(Directory(1, (served(),), (replica.member(),)))
    await eventually(lambda: "cannot be read" in plane.ready()[1][0])
    assert "does not answer the example" in caplog.text
    replica.wrong = None
    await eventually(lambda: plane.ready()[0])


async def test_a_replica_that_could_not_be_reached_is_tried_again(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(handler, "RETRY_S", 0.02)
    replica = await make_replica()
    replica.server.close()
    plane.apply(Directory(1, (served(),), (replica.member(),)))
    await asyncio.sleep(0.05)
    await replica.server.start(replica.address)  # the directory has not changed
    await eventually(lambda: plane.ready()[0])


async def test_a_broken_connection_to_a_living_replica_is_opened_again(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait
) -> None:
    replica = await make_replica()
    plane.apply(Directory(1, (served(),), (replica.member(),)))
    await eventually(lambda: plane.ready()[0])
    replica.cut()
    await eventually(lambda: not plane.ready()[0])
    await eventually(lambda: plane.ready()[0])
    assert await ask(plane) == 2.0


async def test_a_replica_back_at_another_address_under_its_old_id(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait
) -> None:
    old, new = await make_replica(), await make_replica()
    plane.apply(Directory(1, (served(),), (old.member(),)))
    await eventually(lambda: plane.ready()[0])
    # The old one's host is gone without a word: its connection still looks open.
    plane.apply(Directory(2, (served(),), (new.member(),)))
    await eventually(lambda: new.asked)
    await eventually(lambda: plane.ready()[0])
    before = old.asked
    assert await ask(plane) == 2.0
    assert old.asked == before


async def test_a_removed_model_finishes_what_it_admitted(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait
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
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait
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


async def test_a_model_that_comes_back_is_served_again(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait
) -> None:
    replica = await make_replica()
    full = Directory(1, (served(),), (replica.member(),))
    plane.apply(full)
    await eventually(lambda: plane.ready()[0])
    plane.apply(Directory(2, (), full.members))
    plane.apply(full)
    await eventually(lambda: plane.ready()[0])
    assert await ask(plane) == 2.0


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


async def test_remarks_of_another_server_reach_the_request_they_are_about(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait
) -> None:
    flags = {"guards": [{"name": "schema", "action": "flag"}], "expose_flags": True}
    plane.apply(Directory(1, (served(**flags),)))
    link = make_link(manual=True)
    plane.add_link("m", "1", link)
    await eventually(lambda: link.held)
    link.answer()  # the proof
    await eventually(lambda: plane.resolve("m").ready)
    asked = [asyncio.ensure_future(plane.infer(request(value=n))) for n in (1.0, 2.0, float("nan"))]
    await eventually(lambda: link.held)
    said = ResponseParameters({"n": 7}, {"y": {"unit": "m"}})
    link.answer(remarks={1: said, 2: said}, failed={0: "no"}, outputs={"y": np.ones((2, 2), "f4")})
    with pytest.raises(errors.ModelFailed, match="no"):
        await asked[0]
    second, third = await asyncio.gather(*asked[1:])
    assert second.parameters == {"n": 7}
    assert third.parameters == {"n": 7, "vigil_flags": "schema"}
    assert second.outputs[0].parameters == {"unit": "m"}
    again = asyncio.ensure_future(plane.infer(request()))
    await eventually(lambda: link.held)
    link.answer()
    assert (await again).parameters is None


async def test_the_version_of_an_answer_is_that_of_the_other_server(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait
) -> None:
    plane.apply(Directory(1, (served(),)))
    link = make_link(manual=True)
    plane.add_link("m", "1", link)
    await eventually(lambda: link.held)
    link.answer()  # the proof
    await eventually(lambda: plane.resolve("m").ready)
    asked = [asyncio.ensure_future(plane.infer(request(value=n))) for n in (1.0, 2.0)]
    await eventually(lambda: link.held)
    link.answer(remarks={1: ResponseParameters({}, {}, "v0.1.0")})
    answers = await asyncio.gather(*asked)
    assert [answer.model_version for answer in answers] == ["1", "v0.1.0"]
    assert answers[1].parameters is None


async def test_classes_of_a_model_without_a_row_axis_are_those_of_its_one_row(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait
) -> None:
    remote = {"url": "grpc://127.0.0.1:1", "row_axis": False}
    plane.apply(Directory(1, (served(format="remote", remote=remote),)))
    plane.add_link("m", "1", make_link())
    await eventually(lambda: plane.ready()[0])
    tensor = Tensor("x", "FP32", (2,), np.array([1, 2], np.float32))
    best = RequestedOutput("y", {"classification": 2})
    response = await plane.infer(InferRequest("m", "", "id", (tensor,), (best,)))
    (output,) = response.outputs
    assert (output.datatype, output.shape) == ("BYTES", (2,))
    assert output.data.tolist() == [b"4.000000:1", b"2.000000:0"]


async def test_outputs_flags_and_timeout(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait
) -> None:
    plane.apply(
        Directory(1, (served(guards=[{"name": "schema", "action": "flag"}], expose_flags=True),))
    )
    link = make_link()
    plane.add_link("m", "1", link)
    await eventually(lambda: plane.ready()[0])
    response = await plane.infer(
        request(value=float("nan"), outputs=(RequestedOutput("y"),), parameters={"timeout": 0})
    )
    assert response.parameters == {"vigil_flags": "schema"}
    assert [output.name for output in response.outputs] == ["y"]
    assert response.model_version == "1"
    link.manual = True
    for parameters, timeout_s in (({"timeout": 20_000}, 60), ({"timeout": 60_000_000}, 0.02)):
        with pytest.raises(errors.DeadlineExceeded):
            await plane.infer(request(parameters=parameters), within(timeout_s))
        link.answer() if link.held else None
    for wrong in (-1, True, "1", 1.5):
        with pytest.raises(errors.InvalidInput, match="timeout"):
            await plane.infer(request(parameters={"timeout": wrong}))


async def test_priorities(plane: DataPlane, served: Any, make_link: Any, eventually: Wait) -> None:
    levels = {"priority_levels": 3, "default_priority_level": 2, "max_batch_size": 1}
    plane.apply(Directory(1, (served(batching=levels), served("flat")), ()))
    link = make_link(manual=True)
    plane.add_link("m", "1", link)
    await eventually(lambda: link.held)
    link.answer()
    plane.add_link("flat", "1", make_link())
    await eventually(lambda: plane.ready()[0])
    first = asyncio.create_task(ask(plane, value=9.0))
    await eventually(lambda: link.held)
    tasks = [
        asyncio.create_task(ask(plane, value=float(n), parameters={"priority": priority}))
        for n, priority in enumerate((3, 0, 2, 1))
    ]
    await asyncio.sleep(0)
    link.manual = False
    link.answer()
    await asyncio.gather(first, *tasks)
    assert [batch.arrays[0][0, 0] for batch in link.batches[2:]] == [3, 1, 2, 0]
    first = asyncio.create_task(ask(plane, value=9.0))
    link.manual = True
    await eventually(lambda: link.held)
    for level in (9, 0, 1):  # of the contexts; a level below the lowest is the lowest
        context = RequestContext(priority=level)
        tasks.append(asyncio.create_task(plane.infer(request(value=float(level)), context)))
    tasks.append(asyncio.create_task(ask(plane, value=5.0, parameters={"priority": 1})))
    await asyncio.sleep(0)
    link.manual = False
    link.answer()
    await asyncio.gather(first, *tasks)
    assert [batch.arrays[0][0, 0] for batch in link.batches[-4:]] == [1, 5, 0, 9]
    for wrong in (4, -1, True, "1", 1.0):
        with pytest.raises(errors.InvalidInput, match="priority"):
            await plane.infer(request(parameters={"priority": wrong}))
        if wrong != 4:
            with pytest.raises(errors.InvalidInput, match="priority"):
                await plane.infer(request("flat", parameters={"priority": wrong}))
    for meaningless in (0, 1, 7):  # without levels, as with Triton
        assert await ask(plane, "flat", parameters={"priority": meaningless}) == 2.0


async def test_a_priority_that_is_none_of_ours_is_the_other_servers(
    plane: DataPlane, served: Any, make_link: Any
) -> None:
    remote = {"url": "grpc://127.0.0.1:1"}
    with_levels = {"priority_levels": 2, "default_priority_level": 1}
    models = (
        served("far", format="remote", remote=remote),
        served("leveled", format="remote", remote=remote, batching=with_levels),
    )
    plane.apply(Directory(1, models, ()))
    links = {name: make_link() for name in ("far", "leveled")}
    for name, link in links.items():
        plane.add_link(name, "1", link)
    async with asyncio.timeout(60):
        while not plane.ready()[0]:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await ask(plane, "far", parameters={"priority": 7})
    forward = links["far"].batches[-1].items[0].bound.forward
    assert msgspec.msgpack.decode(forward, type=Passthrough).parameters == {"priority": 7}
    for name, wrong in (("far", -1), ("far", "1"), ("leveled", 3)):
        with pytest.raises(errors.InvalidInput, match="priority"):
            await ask(plane, name, parameters={"priority": wrong})


@pytest.mark.parametrize("fair_share", ["client", "none"])
async def test_clients_take_turns_where_the_model_says_so(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait, fair_share: str
) -> None:
    plane.apply(Directory(1, (served(batching={"fair_share": fair_share, "max_batch_size": 1}),)))
    link = make_link()
    plane.add_link("m", "1", link)
    await eventually(lambda: plane.ready()[0])
    link.manual = True
    tasks = [asyncio.create_task(plane.infer(request(value=0.0), FLOOD))]
    await eventually(lambda: link.held)
    tasks += [asyncio.create_task(plane.infer(request(value=1.0), FLOOD)) for _ in range(4)]
    tasks += [asyncio.create_task(plane.infer(request(value=2.0), OTHER))]
    await asyncio.sleep(0)
    link.manual = False
    link.answer()
    await asyncio.gather(*tasks)
    order = [batch.arrays[0][0, 0] for batch in link.batches[2:]]
    assert order.index(2.0) <= 1 if fair_share == "client" else order.index(2.0) == 4


async def test_every_outcome_is_counted(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait
) -> None:
    schema = [{"name": "schema", "action": "reject"}]
    plane.apply(Directory(1, (served(guards=schema, batching={"max_queue_rows": 1}),)))
    with pytest.raises(errors.NoReplica):
        await ask(plane)
    link = make_link()
    plane.add_link("m", "1", link)
    await eventually(lambda: plane.ready()[0])
    await ask(plane)
    with pytest.raises(errors.GuardRejected):
        await ask(plane, value=float("inf"))
    with pytest.raises(errors.InvalidInput):
        await plane.infer(InferRequest("m", "", "id", ()))
    link.manual = True
    under_way = asyncio.create_task(ask(plane))
    await eventually(lambda: link.held)
    with pytest.raises(errors.DeadlineExceeded):
        await plane.infer(request(), within(0.01))
    abandoned = asyncio.create_task(ask(plane))
    await asyncio.sleep(0)
    with pytest.raises(errors.QueueFull):
        await ask(plane)
    abandoned.cancel()
    with pytest.raises(asyncio.CancelledError):
        await abandoned
    link.fail(errors.ModelFailed("no"))
    with pytest.raises(errors.ModelFailed):
        await under_way
    assert outcomes(plane) == {
        "unavailable": 1, "ok": 1, "rejected": 1, "invalid": 1,
        "deadline": 1, "abandoned": 1, "overloaded": 1, "failed": 1,
    }  # fmt: skip


async def test_series_do_not_grow_with_what_clients_send(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait
) -> None:
    plane.apply(Directory(1, (served(),)))
    plane.add_link("m", "1", make_link())
    await eventually(lambda: plane.ready()[0])
    with pytest.raises(errors.ModelNotFound):
        await ask(plane, "random-0")
    before = len(plane.snapshot())
    for number in range(20):
        with pytest.raises(errors.VigilError):
            await ask(plane, f"random-{number}")
    assert len(plane.snapshot()) == before


def gauges(plane: DataPlane) -> dict[str, float]:
    wanted = ("vigil.queue.rows", "vigil.replica.slots.total", "vigil.replica.slots.used")
    return {series.name: series.value for series in plane.snapshot() if series.name in wanted}


async def test_gauges_tell_of_what_is_being_removed_and_then_of_nothing(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait
) -> None:
    plane.apply(Directory(1, (served(),)))
    link = make_link(manual=True)
    plane.add_link("m", "1", link)
    await eventually(lambda: link.held)
    link.answer()  # the proof
    await eventually(lambda: plane.ready()[0])
    asked = [asyncio.ensure_future(ask(plane)) for _ in range(2)]
    await eventually(lambda: link.held)
    last = asyncio.ensure_future(ask(plane))
    await asyncio.sleep(0)
    plane.apply(Directory(2, ()))
    assert list(gauges(plane).values()) == [1, 1, 1]
    link.manual = False
    link.answer()
    await asyncio.gather(*asked, last)
    await eventually(lambda: not plane.status()["retiring"])
    assert gauges(plane) == {}


async def test_a_candidate_answers_nobody_until_it_is_taken_in(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait
) -> None:
    old, new = (msgspec.structs.replace(served(), revision=name) for name in ("old", "new"))
    plane.apply(Directory(1, (old,), ()))
    first, second = make_link("r-old", manual=True), make_link("r-new")
    plane.add_link("m", "1", first, "old")
    await eventually(lambda: first.held)
    first.answer()
    await eventually(lambda: plane.ready()[0])
    plane.apply(Directory(2, (old,), (), (new,)))
    assert plane.status()["candidates"] == [("m", "1", "new", "LOADING", "no replica yet")]
    plane.add_link("m", "1", second, "new")
    await eventually(lambda: plane.status()["candidates"][0][3] == "READY")
    admitted = asyncio.ensure_future(ask(plane))
    await eventually(lambda: first.held)
    assert len(second.batches) == 1  # the proof
    told: list[object] = []
    plane.on_follow = lambda: told.append(plane.status()["retiring"])
    plane.apply(Directory(3, (new,), ()))
    assert await ask(plane) == 2.0
    assert len(second.batches) == 2
    # The old one still answers what it had taken.
    assert told == [[("m", "1", "old")]]
    first.answer()
    assert await admitted == 2.0
    await eventually(lambda: told[-1] == [])


async def test_only_a_required_model_that_is_refused_holds_readiness(
    plane: DataPlane, served: Callable[..., ServedModel]
) -> None:
    spare = served("spare", example=b"not JSON", required=False)
    plane.apply(Directory(1, (spare,)))
    assert plane.refused.keys() == {("spare", "1")}
    assert plane.ready() == (True, [])
    plane.apply(Directory(2, (spare, served("needed", example=b"not JSON"))))
    ready, reasons = plane.ready()
    assert not ready
    assert [reason.split(":")[0] for reason in reasons] == ["model 'needed'"]


async def test_a_candidate_that_fails_its_example_is_told_and_dropped(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait
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
    wanted = [("m", "1", "new", "UNAVAILABLE", said)]
    await eventually(lambda: plane.status()["candidates"] == wanted)
    plane.apply(Directory(3, (old,), ()))
    assert plane.status()["candidates"] == []
    assert await ask(plane) == 2.0


async def test_an_example_that_is_no_request_of_the_model_is_told_by_its_file(
    plane: DataPlane, served: Any
) -> None:
    old = served()
    config = json.loads(old.config) | {"example": "ask.json"}
    tensor = {"name": "z", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}
    example = json.dumps({"inputs": [tensor]}).encode()
    new = msgspec.structs.replace(
        old, revision="new", config=json.dumps(config).encode(), example=example
    )
    plane.apply(Directory(1, (), (), (new,)))
    ((*_, state, reason),) = plane.status()["candidates"]
    assert state == "UNAVAILABLE"
    assert reason.startswith("ask.json, which model.yaml names as `example`: ")


async def test_a_revision_that_cannot_answer_yet_does_not_replace_one_that_can(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait
) -> None:
    old, new = (msgspec.structs.replace(served(), revision=name) for name in ("old", "new"))
    plane.apply(Directory(1, (old,), ()))
    plane.add_link("m", "1", make_link(), "old")
    await eventually(lambda: plane.ready()[0])
    # As after a time without the hub: what lay between was never seen.
    plane.apply(Directory(7, (new,), ()))
    assert plane.resolve("m").key == ("m", "1", "old")
    assert await ask(plane) == 2.0
    plane.add_link("m", "1", make_link(), "new")
    await eventually(lambda: plane.resolve("m").key == ("m", "1", "new"))
    assert await ask(plane) == 2.0


async def test_tickets_tell_in_the_turn_of_the_answer_and_not_after_they_are_given_up(
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait
) -> None:
    replica = await make_replica()
    plane.apply(Directory(1, (served(),), (replica.member(),)))
    await eventually(lambda: plane.ready()[0])
    replica.hold = True
    told: list[str] = []
    tickets = {name: plane.begin(request()) for name in ("first", "gone", "last")}
    for name, ticket in tickets.items():
        ticket.then(lambda name=name: told.append(name))
        # A turn of the loop after its future was settled everybody would have been told.
        ticket.item.future.add_done_callback(lambda _, name=name: told.append(f"{name} settled"))
    await eventually(lambda: replica.held)
    tickets["gone"].cancel()
    tickets["gone"].cancel()
    replica.release()
    await eventually(lambda: "last settled" in told)
    assert told == ["gone settled", "first", "last", "first settled", "last settled"]
    assert plane.finish(tickets["first"]).outputs[0].data.tolist() == [[2.0, 2.0]]
    tickets["first"].then(lambda: told.append("late"))
    await eventually(lambda: told[-1] == "late")
    assert outcomes(plane) == {"abandoned": 1, "ok": 2}
