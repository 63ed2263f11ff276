"""A version to which copies come: answered at once and without outputs, whoever computes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from serving.channel.messages.directory import Directory, ServedModel
from serving.channel.messages.inference import BatchResult, ResultMeta
from serving.config import ModelConfig
from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.dataplane.hooks.records import BatchDone, RequestRefused
from serving.errors import InvalidInput, NoReplica
from serving.protocol.messages import InferRequest, InferResponse, Tensor


class Records:
    def __init__(self) -> None:
        self.done: list[BatchDone] = []
        self.refused: list[RequestRefused] = []

    def batch_done(self, done: BatchDone) -> None:
        self.done.append(done)

    def request_refused(self, refused: RequestRefused) -> None:
        self.refused.append(refused)


class Upstream:
    """A link that answers once it is let."""

    id, slots, busy, rows, open = "r0", 4, 0, 0, True

    def __init__(self) -> None:
        self.hold = asyncio.Event()
        self.hold.set()

    async def send(self, batch: Any) -> BatchResult:
        await self.hold.wait()
        return BatchResult({"y": batch.arrays[0] * 2}, ResultMeta({}, (), 1, 0))


def served(mirror: str) -> ServedModel:
    config = ModelConfig.model_validate(
        {
            "format": "remote",
            "remote": {"url": "grpc://127.0.0.1:1", "mirror": mirror},
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        }
    )
    return ServedModel("m", "1", config.model_dump_json().encode(), "nowhere")


@pytest.fixture
async def plane() -> AsyncIterator[DataPlane]:
    plane = DataPlane("g")
    yield plane
    plane.close()
    await asyncio.sleep(0)


def recorded(plane: DataPlane) -> Records:
    records = Records()
    recorder = plane.served_version("m").recorder
    recorder.batch_hooks = (*recorder.batch_hooks, records)
    recorder.refusal_hooks = (*recorder.refusal_hooks, records)
    return records


def request(columns: int = 2) -> InferRequest:
    data = np.ones((3, columns), np.float32)
    return InferRequest("m", "", "c-1", (Tensor("x", "FP32", data.shape, data),), (), None)


async def left() -> dict[str, str]:
    return {"type": "http.disconnect"}


GONE = RequestContext(disconnect=left)


async def test_inputs_alone_are_recorded_where_the_server_is_not_asked(plane: DataPlane) -> None:
    plane.apply(Directory(1, (served("observe"),)))
    records = recorded(plane)
    assert plane.ready() == (True, [])  # without a single replica
    answer = await plane.infer(request(), GONE)
    assert answer == InferResponse("m", "1", "c-1", ())
    [done] = records.done
    assert (done.observed, done.rows, done.output_rows, done.outputs) == (True, 3, 0, {})
    assert done.requests[0].client_id == "c-1"
    assert records.refused == []


async def test_a_copy_that_does_not_fit_is_told_so(plane: DataPlane) -> None:
    plane.apply(Directory(1, (served("observe"),)))
    records = recorded(plane)
    with pytest.raises(InvalidInput, match="input 'x' of model 'm' has shape"):
        await plane.infer(request(columns=5))
    assert records.done == []
    assert records.refused[0].failure.outcome == "invalid"


async def test_a_copy_is_answered_before_the_server_that_is_asked(plane: DataPlane) -> None:
    plane.apply(Directory(1, (served("ask"),)))
    records = recorded(plane)
    assert not plane.ready()[0]
    with pytest.raises(NoReplica):
        await plane.infer(request())
    assert len(records.refused) == 1
    upstream = Upstream()
    plane.add_link("m", "1", upstream)
    async with asyncio.timeout(60):
        while not plane.ready()[0]:  # noqa: ASYNC110
            await asyncio.sleep(0)
        records.done.clear()
        upstream.hold.clear()
        assert (await plane.infer(request(), GONE)).outputs == ()
        assert records.done == []
        upstream.hold.set()
        while not records.done:  # noqa: ASYNC110
            await asyncio.sleep(0)
    [done] = records.done
    assert (done.observed, done.rows, done.output_rows) == (False, 3, 3)
    assert done.outputs["y"].tolist() == [[2, 2]] * 3
    assert len(records.refused) == 1
