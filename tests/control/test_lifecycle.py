"""Loading and unloading against a control plane whose gateway answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from serving.channel.endpoint import connect
from serving.channel.messages.control import FAILED, FailedMeta
from serving.channel.messages.directory import Inventory
from serving.channel.messages.reports import UnreadyVersion
from serving.control.lifecycle import ModelControl
from serving.control.registry import Registry
from serving.control.served_model import served_model
from serving.errors import LoadFailed, ModelNotFound
from serving.models.repository.folder import ModelRepository

Wait = Callable[[Callable[[], object]], Awaitable[None]]


def listed(control: ModelControl) -> dict[str, tuple[str, str]]:
    return {row.version: (row.state, row.reason) for row in control.index()}


async def test_a_new_version_replaces_the_old_one_once_it_is_proven(
    control: ModelControl, gateway: Any, engine: Any, put: Any, eventually: Wait
) -> None:
    assert listed(control) == {"": ("UNAVAILABLE", "unloaded")}
    await control.load("m")
    assert listed(control) == {"1": ("READY", "")}
    put("2")
    gateway.verdict = ("LOADING", "no replica yet")
    loading = asyncio.ensure_future(control.load("m"))
    await eventually(lambda: listed(control).get("2") == ("LOADING", ""))
    assert [served.version for served in gateway.directory.models] == ["1"]
    gateway.verdict, gateway.retiring = ("READY", ""), []
    gateway.tell()
    await loading
    assert [served.version for served in gateway.directory.models] == ["2"]
    await eventually(lambda: engine.orders[-1] == ({"2"}, set()))
    # The new one is there before the old one goes.
    assert engine.orders.index(({"1"}, {"2"})) < engine.orders.index(({"1", "2"}, set()))
    assert listed(control) == {"1": ("UNAVAILABLE", "unloaded"), "2": ("READY", "")}


async def test_replicas_stay_until_what_was_admitted_is_answered(
    control: ModelControl, gateway: Any, engine: Any, eventually: Wait
) -> None:
    await control.load("m")
    (served,) = gateway.directory.models
    gateway.retiring = [served.key]
    await control.unload("m")
    assert gateway.directory.models == ()
    assert engine.orders[-1] == ({"1"}, set())
    gateway.retiring = []
    gateway.tell()
    await eventually(lambda: engine.orders[-1] == (set(), set()))


async def test_what_fails_leaves_the_old_one_and_says_why(
    control: ModelControl, gateway: Any, engine: Any, registry: Registry, put: Any
) -> None:
    await control.load("m")
    before = gateway.directory.models
    put("2")
    gateway.verdict = ("UNAVAILABLE", "the example fails: oh")
    with pytest.raises(LoadFailed, match="'m', version 2: the example fails: oh; what served"):
        await control.load("m")
    assert gateway.directory.models == before
    assert engine.orders[-1] == ({"1"}, set())
    assert listed(control)["2"] == ("UNAVAILABLE", "the example fails: oh")
    # Tried again once somebody asks again.
    gateway.verdict = ("READY", "")
    await control.load("m")
    assert listed(control)["2"] == ("READY", "")


async def test_nothing_goes_on_where_nothing_ever_answered(
    control: ModelControl,
    gateway: Any,
    registry: Registry,
    folder: Path,
    put: Any,
    eventually: Wait,
) -> None:
    """As with weights that could not be read from the start."""
    served = served_model(ModelRepository(folder).get("m"))
    gateway.unready = [UnreadyVersion("m", "1", "no replica yet")]
    control.start(Inventory((served,)))
    registry.note_failure(served.key, "no weights")
    await eventually(
        lambda: [s.unready for s in registry.gateway_statuses()] == [tuple(gateway.unready)]
    )
    put("2")
    gateway.verdict = ("UNAVAILABLE", "no weights either")
    with pytest.raises(LoadFailed, match=r"version 2: no weights either$"):
        await control.load("m")


async def test_a_replica_that_cannot_load_is_heard(
    control: ModelControl, gateway: Any, registry: Registry, eventually: Wait
) -> None:
    gateway.verdict = ("LOADING", "no replica yet")
    loading = asyncio.ensure_future(control.load("m"))
    await eventually(lambda: gateway.directory.candidates)
    (served,) = gateway.directory.candidates
    registry.note_failure(served.key, "no such weights")
    registry.note_failure(served.key, "its process ended with exit code 1")
    with pytest.raises(LoadFailed, match="no such weights"):
        await loading
    assert gateway.directory.candidates == () or not registry.directory.candidates


async def test_the_log_has_what_the_hub_found_and_not_what_a_model_said(
    control: ModelControl,
    gateway: Any,
    registry: Registry,
    join: Any,
    address: str,
    eventually: Wait,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gateway.verdict = ("LOADING", "no replica yet")
    loading = asyncio.ensure_future(control.load("m"))
    await eventually(lambda: gateway.directory.candidates)
    (served,) = gateway.directory.candidates
    registry.note_failure(served.key, "its process ended with exit code 9")
    with pytest.raises(LoadFailed, match="exit code 9"):
        await loading
    assert "'m' is refused: its process ended with exit code 9" in caplog.text
    caplog.clear()
    gateway.directory = type(gateway.directory)()
    loading = asyncio.ensure_future(control.load("m"))
    await eventually(lambda: gateway.directory.candidates)
    connection = await connect(address)
    connection.notify(FAILED, FailedMeta(*served.key, "ValueError: Anna 4711"))
    with pytest.raises(LoadFailed, match="Anna 4711"):
        await loading
    connection.close()
    assert "model_load_failed or version_unproven" in caplog.text
    assert "Anna" not in caplog.text


async def test_what_has_not_changed_is_left_alone(
    control: ModelControl, gateway: Any, put: Any
) -> None:
    put("2", versions="all")
    await control.load("m")
    before = {served.key for served in gateway.directory.models}
    assert {version for _, version, _ in before} == {"1", "2"}
    put("2", "other weights", versions="all")
    await control.load("m")
    after = {served.key for served in gateway.directory.models}
    assert {version for _, version, _ in before - after} == {"2"}
    assert {version for _, version, _ in after} == {"1", "2"}


async def test_one_of_several_fails_and_the_others_are_taken_in(
    control: ModelControl, gateway: Any, registry: Registry, put: Any, eventually: Wait
) -> None:
    put("2", versions="[1, 2]")
    gateway.verdict = ("LOADING", "no replica yet")
    loading = asyncio.ensure_future(control.load("m"))
    await eventually(lambda: len(gateway.directory.candidates) == 2)
    registry.note_failure(gateway.directory.candidates[0].key, "broken")
    gateway.verdict = ("READY", "")
    gateway.tell()
    with pytest.raises(LoadFailed, match="version 1: broken"):
        await loading
    assert listed(control) == {"1": ("UNAVAILABLE", "broken"), "2": ("READY", "")}


async def test_loading_takes_a_bounded_time(
    registry: Registry,
    folder: Path,
    engine: Any,
    put: Any,
    gateway: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put("1")
    control = ModelControl(
        registry, ModelRepository(folder), engine, load_timeout_s=0.05, drain_timeout_s=1
    )
    control.start(Inventory())
    gateway.verdict = ("LOADING", "no replica yet")
    with pytest.raises(LoadFailed, match="load_timeout_s"):
        await control.load("m")
    assert engine.orders[-1] == (set(), set())
    assert "version 1 of model 'm' is refused: not ready within load_timeout_s" in caplog.text


async def test_an_order_that_is_given_up_leaves_nothing_behind(
    control: ModelControl, gateway: Any, engine: Any, registry: Registry, put: Any, eventually: Wait
) -> None:
    await control.load("m")
    put("2")
    gateway.verdict = ("LOADING", "no replica yet")
    loading = asyncio.ensure_future(control.load("m"))
    await eventually(lambda: gateway.directory.candidates)
    loading.cancel()
    await asyncio.wait([loading])
    assert engine.orders[-1] == ({"1"}, set())
    assert registry.directory.candidates == ()
    gateway.slow = True
    unloading = asyncio.ensure_future(control.unload("m"))
    # The order reaches the gateway a moment after it was given: it cannot follow one before that.
    await eventually(lambda: gateway.directory.models == ())
    assert not control.loaded
    unloading.cancel()
    await asyncio.wait([unloading])
    gateway.tell()
    await eventually(lambda: engine.orders[-1] == (set(), set()))


async def test_another_signature_is_refused_unless_the_load_allows_it(
    control: ModelControl, gateway: Any, engine: Any, put: Any
) -> None:
    await control.load("m")
    put("2", width=3)
    with pytest.raises(LoadFailed, match=r"version 1, which answers now: output 'y' has shape"):
        await control.load("m")
    assert [served.version for served in gateway.directory.models] == ["1"]
    assert engine.orders[-1] == ({"1"}, set())
    assert "allow_signature_change" in listed(control)["2"][1]
    await control.load("m", allow_signature_change=True)
    assert listed(control) == {"1": ("UNAVAILABLE", "unloaded"), "2": ("READY", "")}
    # What was unloaded on purpose has no clients that could stumble.
    await control.unload("m")
    put("3", width=4)
    await control.load("m")
    assert listed(control)["3"] == ("READY", "")


async def test_the_same_version_with_another_signature_is_refused_too(
    control: ModelControl, gateway: Any, put: Any
) -> None:
    await control.load("m")
    before = gateway.directory.models
    put("1", "other weights", width=3)
    with pytest.raises(LoadFailed, match="allow_signature_change"):
        await control.load("m")
    assert gateway.directory.models == before


async def test_at_the_end_the_engine_gets_no_more_orders(
    control: ModelControl, gateway: Any, engine: Any, eventually: Wait
) -> None:
    gateway.verdict = ("LOADING", "no replica yet")
    loading = asyncio.ensure_future(control.load("m"))
    await eventually(lambda: gateway.directory.candidates)
    control.stop()
    before = list(engine.orders)
    gateway.verdict = ("READY", "")
    gateway.tell()
    await loading
    assert engine.orders == before


async def test_what_is_not_there(control: ModelControl, folder: Path, gateway: Any) -> None:
    for name, order in (("load", control.load), ("unload", control.unload)):
        expected = f"^failed to {name} 'nobody', Request for unknown model: 'nobody'"
        with pytest.raises(ModelNotFound, match=expected):
            await order("nobody")
    with pytest.raises(ModelNotFound):
        await control.load("../models/m")
    assert not control._locks  # names come from clients: none may stay
    (folder / "m" / "1" / "model.pt2").unlink()
    with pytest.raises(LoadFailed, match=r"model\.pt2"):
        await control.load("m")
    assert "model.pt2" in listed(control)[""][1]
