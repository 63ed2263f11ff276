"""The parts of the ray engine that import Ray but start none."""

import asyncio
import warnings
from pathlib import Path

import pytest

from serving.channel.messages.directory import Inventory, ServedModel
from serving.config import Listen, ServerConfig
from serving.protocol.repository import ControlMeta

with warnings.catch_warnings():
    # What Ray's own imports warn about is not ours to mend.
    warnings.simplefilter("ignore")
    from serving.engines.ray import cluster as ray_cluster
    from serving.engines.ray import deployments as ray_deployments
    from serving.engines.ray.instance import Instance

pytestmark = pytest.mark.ray

LOCAL = "127.0.0.1"
MODEL = ServedModel("lab", "1", b"{}", "/models/lab/1")


def test_object_store_is_larger_when_bodies_travel_through_it() -> None:
    listen = Listen(max_body_mib=64)
    small = ray_cluster.object_store_bytes(ServerConfig(listen=listen))
    large = ray_cluster.object_store_bytes(ServerConfig(listen=listen, ingress="serve"))
    assert small == 128 << 20
    assert large == 512 << 20


class Admin(ray_deployments.AdminDeployment):
    """Outside Serve nobody awaits the destructor."""

    def __del__(self) -> None: ...


async def test_an_order_is_answered_once_the_driver_knows_of_it(tmp_path: Path) -> None:
    """Until then the actor that replaces a dead one would not have heard of it."""
    listen = Listen(http_port=0, grpc_port=0, admin_port=0)
    config = ServerConfig(listen=listen, data_dir=tmp_path / "data", models=tmp_path)
    admin = Admin(Instance(config, Inventory(), tmp_path, f"unix:{tmp_path}/registry.sock", None))
    try:
        first = await admin.wanted(ray_deployments.Order(), 0)
        order = ControlMeta("logging", settings={"log_verbose_level": 1})
        answer = asyncio.create_task(admin._room.commands.answer(order))
        told = await admin.wanted(first, 10)
        assert told.number > first.number
        assert told.chosen.log == {"log_verbose_level": 1}
        assert not answer.done()
        await admin.wanted(told, 0)
        assert (await answer)["log_verbose_level"] == 1
        await admin._room.commands.answer(ControlMeta("logging"))  # a question changes nothing
    finally:
        await ray_deployments.AdminDeployment.__del__(admin)
