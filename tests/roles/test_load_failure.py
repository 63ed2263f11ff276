"""A replica that cannot load tells the hub why, and is not held up by a hub that is gone."""

from __future__ import annotations

import asyncio
from pathlib import Path

from serving.channel.messages.directory import ServedModel
from serving.control.registry import Hub
from serving.roles.load_failure import tell_failed


async def test_the_hub_hears_the_reason(tmp_path: Path) -> None:
    served = ServedModel("m", "2", b"{}", "nowhere", None, "rev")
    hub = Hub()
    address = await hub.start(f"unix:{tmp_path}/hub")
    try:
        hub.set_models([served])
        error = ValueError("weights\nare wet")
        await asyncio.to_thread(tell_failed, served, error, address, None)
        async with asyncio.timeout(60):
            while hub.failures.of(served.key) is None:
                await hub.news(0.1)
        assert hub.failures.of(served.key) == "weights are wet"
        assert any("weights are wet" in reason for reason in hub.ready()[1])
        # What only tells how the process ended does not replace it.
        hub.note_failure(served.key, "exit code 1")
        assert hub.failures.of(served.key) == "weights are wet"
    finally:
        hub.stop()
        await asyncio.sleep(0.01)


def test_nobody_to_tell_is_no_error(tmp_path: Path) -> None:
    served = ServedModel("m", "2", b"{}", "nowhere")
    tell_failed(served, ValueError(), f"unix:{tmp_path}/nobody", None)
