"""What guards scored is for whoever runs the server: no answer tells it, over no transport."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from guards.decisions import Action
from serving.channel.messages.directory import Directory, ServedModel
from serving.channel.messages.inference import BatchResult, GuardResult, ResultMeta
from serving.config import ModelConfig
from serving.dataplane.handler import DataPlane
from serving.dataplane.requests.batch import Batch
from serving.protocol.pb.open_inference_pb2 import ModelInferResponse

SCORE = 1234.5625
"""Exact in single precision; nothing else here has these digits or these bytes."""
WAYS = [struct.pack(form, SCORE) for form in ("<f", ">f", "<d", ">d")] + [b"1234.5", b"1234,5"]
REQUEST = (
    b'{"id":"q","inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]%s}'
)  # fmt: skip


class Scored:
    """A link that doubles, and whose guard does to every row what it is told, with a score."""

    id, slots, busy, rows, open = "r0", 4, 0, 0, True
    action = Action.PASS

    async def send(self, batch: Batch) -> BatchResult:
        scores = np.full(batch.total, SCORE, np.float32).tobytes()
        rows = () if self.action is Action.PASS else ((0, int(self.action), "odd"),)
        guard = GuardResult("mahalanobis", rows, 1, "", scores)
        return BatchResult({"y": batch.arrays[0] * 2}, ResultMeta({}, (guard,), 1, 1))


@pytest.fixture
def link() -> Scored:
    return Scored()


@pytest.fixture
async def plane(link: Scored) -> AsyncIterator[DataPlane]:
    spec = {"datatype": "FP32", "shape": [-1, 2]}
    config = ModelConfig.model_validate(
        {
            "format": "torch_export",
            "inputs": [{"name": "x", **spec}],
            "outputs": [{"name": "y", **spec}],
            "guards": [{"name": "mahalanobis", "action": "reject"}],
            "expose_flags": True,
            "log": {"capture": "full", "sample": 1.0},
        }
    )
    plane = DataPlane("g")
    plane.apply(Directory(1, (ServedModel("m", "1", config.model_dump_json().encode(), "no"),)))
    plane.add_link("m", "1", link)
    async with asyncio.timeout(60):
        while not plane.ready()[0]:  # noqa: ASYNC110
            await asyncio.sleep(0)
    yield plane
    plane.close()


def published(plane: DataPlane) -> list[float]:
    """Return the scores of what the monitor will be told."""
    return [
        score
        for pending in plane.publisher._open.values()
        for batch in pending._batches
        for score in (batch.scores or {})["mahalanobis"].tolist()
    ]


@pytest.mark.parametrize("action", [Action.PASS, Action.SHADOW, Action.FLAG, Action.REJECT])
@pytest.mark.parametrize("binary", [False, True])
async def test_no_answer_over_http_tells_a_score(
    plane: DataPlane, link: Scored, connect: Callable[[], Awaitable[Any]], post: Any,
    action: Action, binary: bool,
) -> None:  # fmt: skip
    link.action = action
    wanted = b',"parameters":{"binary_data_output":true}' if binary else b""
    client = await connect()
    await client.send(post(REQUEST % wanted, "Connection: close\r\n"))
    answer = await client.rest()
    assert answer.startswith(b"HTTP/1.1 422" if action is Action.REJECT else b"HTTP/1.1 200")
    assert (b"vigil_flags" in answer) == (action is Action.FLAG)
    assert (struct.pack("<2f", 2, 4) in answer) == (binary and action is not Action.REJECT)
    assert published(plane) == [SCORE]  # there was one to tell
    assert not [way for way in WAYS if way in answer]


@pytest.mark.parametrize("action", [Action.PASS, Action.SHADOW, Action.FLAG, Action.REJECT])
async def test_no_answer_over_grpc_tells_a_score(
    plane: DataPlane, link: Scored, connect2: Callable[[], Awaitable[Any]], message: bytes,
    action: Action,
) -> None:  # fmt: skip
    link.action = action
    client = await connect2()
    stream = await client.answer(await client.call(message))
    told = {**stream.headers, **stream.trailers}
    assert told["grpc-status"] == ("9" if action is Action.REJECT else "0")
    if action is not Action.REJECT:
        answer = ModelInferResponse.FromString(stream.body[5:])
        assert ("vigil_flags" in answer.parameters) == (action is Action.FLAG)
    assert published(plane) == [SCORE]
    everything = stream.body + repr(told).encode()
    assert not [way for way in WAYS if way in everything]
