"""A replica that cannot load tells why, and is not held up by a control plane that is gone."""

from __future__ import annotations

import asyncio
from pathlib import Path

from serving.channel.messages.directory import ServedModel
from serving.control.registry import Registry
from serving.roles.load_failure import tell_failed


async def test_the_hub_hears_the_reason(tmp_path: Path) -> None:
    served = ServedModel("m", "2", b"{}", "nowhere", None, "rev")
    registry = Registry()
    address = await registry.start(f"unix:{tmp_path}/control plane")
    try:
        registry.set_models([served])
        error = ValueError("weights\nare wet")
        await asyncio.to_thread(tell_failed, served, error, address, None)
        async with asyncio.timeout(60):
            while registry.failures.of(served.key) is None:
                await registry.news(0.1)
        assert registry.failures.of(served.key) == "weights are wet"
        assert any("weights are wet" in reason for reason in registry.ready()[1])
        # What only tells how the process ended does not replace it.
        registry.note_failure(served.key, "exit code 1")
        assert registry.failures.of(served.key) == "weights are wet"
    finally:
        registry.stop()
        await asyncio.sleep(0.01)


def test_nobody_to_tell_is_no_error(tmp_path: Path) -> None:
    served = ServedModel("m", "2", b"{}", "nowhere")
    tell_failed(served, ValueError(), f"unix:{tmp_path}/nobody", None)
