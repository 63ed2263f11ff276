"""When a gateway is ready, and why not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving import errors
from serving.channel.messages.directory import BrokenModel, Directory, ServedModel
from serving.dataplane.handler import DataPlane
from serving.dataplane.readiness import missing

Wait = Callable[[Callable[[], object]], Awaitable[None]]


def test_ready_needs_a_directory_and_no_model(plane: DataPlane) -> None:
    assert plane.ready() == (False, ["the control plane has not said yet what is served"])
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
    plane: DataPlane, served: Any, make_replica: Any, eventually: Wait, ask: Any, outcomes: Any
) -> None:
    changes: list[bool] = []
    plane.readiness.on_change = lambda: changes.append(plane.ready()[0])
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


async def test_only_required_models_hold_up_readiness(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait
) -> None:
    plane.apply(Directory(1, (served(), served("extra", required=False)), ()))
    plane.add_link("m", "1", make_link())
    await eventually(lambda: plane.ready() == (True, []))
    plane.readiness.draining = True
    assert plane.ready() == (False, ["the gateway is draining"])


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


def test_a_version_whose_configuration_cannot_be_read_counts_as_required() -> None:
    directory = Directory(1, (ServedModel("m", "1", b"no JSON", "nowhere"),))
    assert missing(directory, (), {("m", "1"): "it is odd"}) == ["model 'm': it is odd"]
