"""What the micro-benchmarks share: a data plane whose one replica answers at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import uvloop

from loadtest import mlp
from serving.channel.messages.directory import Directory, ServedModel
from serving.channel.messages.inference import BatchResult, ResultMeta
from serving.config import ModelConfig
from serving.dataplane.handler import DataPlane
from serving.dataplane.requests.batch import Batch

Calls = Callable[[Callable[[Any], object], Any, int], None]
"""Runs a function on an argument and notes how many Python calls that is for each request."""

_counted: dict[str, float] = {}


@pytest.fixture
def calls(request: pytest.FixtureRequest) -> Calls:
    """Return what counts calls; unlike times, they are the same on any machine."""

    def count(run: Callable[[Any], object], argument: Any, requests: int) -> None:
        counted = 0

        def note(_frame: object, event: str, _argument: object) -> None:
            nonlocal counted
            counted += event == "call"

        sys.setprofile(note)
        try:
            run(argument)
        finally:
            sys.setprofile(None)
        _counted[request.node.name] = counted / requests

    return count


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell what was counted."""
    if _counted:
        terminalreporter.section("Python calls per request")
        for name, count in sorted(_counted.items()):
            terminalreporter.write_line(f"{count:8.1f}  {name}")


class Instant:
    """A link that answers every batch with the same numbers, one loop turn later."""

    id, slots, busy, rows, open = "r0", 2, 0, 0, True

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._outputs = np.full((4096, 2), 0.5, np.float32)

    def send(self, batch: Batch) -> asyncio.Future[BatchResult]:
        """Answer in the next turn."""
        future: asyncio.Future[BatchResult] = self._loop.create_future()
        outputs = {mlp.OUTPUT: self._outputs[: batch.total]}
        self._loop.call_soon(future.set_result, BatchResult(outputs, ResultMeta({}, (), 1, 0)))
        return future


def model_config() -> bytes:
    """Return `model.yaml` of the raced model without its checks."""
    return (
        ModelConfig.model_validate(
            {
                "format": "torch_export",
                "inputs": [{"name": mlp.INPUT, "datatype": "FP32", "shape": [-1, mlp.WIDTHS[0]]}],
                "outputs": [{"name": mlp.OUTPUT, "datatype": "FP32", "shape": [-1, 2]}],
                "monitors": {"drift": None, "performance": None},
                "explain": None,
            }
        )
        .model_dump_json()
        .encode()
    )


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop as gateways have it."""
    made = uvloop.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def plane(loop: asyncio.AbstractEventLoop) -> DataPlane:
    """A data plane that serves the raced model over an `Instant` link."""

    async def make() -> DataPlane:
        plane = DataPlane("bench", channel=False)
        plane.apply(Directory(1, (ServedModel(mlp.MODEL, "1", model_config(), "nowhere"),)))
        plane.add_link(mlp.MODEL, "1", Instant())
        while not plane.ready()[0]:  # noqa: ASYNC110 - a few turns
            await asyncio.sleep(0)
        return plane

    return loop.run_until_complete(make())
