"""What a gateway reports of its processor time: not that of an application which hosts it."""

from __future__ import annotations

import pytest

from serving.control.registry import Registry
from serving.gateway.app import GatewayComposition
from serving.gateway.body_budget import BodyBudget
from serving.gateway.upkeep.collector import Collector
from serving.gateway.upkeep.spare_memory import SpareMemory


@pytest.mark.parametrize("guest", [True, False])
async def test_the_time_of_a_host_is_shared_out_to_nobody(
    registry: Registry, address: str, guest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The collector of this process stays as it is.
    monkeypatch.setattr(Collector, "start", lambda _: None)
    monkeypatch.setattr(SpareMemory, "start", lambda _: None)
    bodies = BodyBudget(1 << 20, 1 << 20)
    gateway = GatewayComposition(
        "gateway-0", address, None, guest=guest, server_name="vigil", bodies=bodies
    )
    await gateway.start()
    try:
        told = [each for each in gateway._report().series if each.name == "vigil.model.cpu.time"]
    finally:
        await gateway.stop()
    assert bool(told) is not guest
    assert all(("role", "gateway") in each.attributes for each in told)
