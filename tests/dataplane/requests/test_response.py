"""From what a model and its server said to the response."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from serving import errors
from serving.channel.messages.directory import Directory
from serving.channel.messages.inference import (
    ResponseParameters,
)
from serving.dataplane.handler import DataPlane
from serving.protocol.messages import InferRequest, RequestedOutput, Tensor

Wait = Callable[[Callable[[], object]], Awaitable[None]]


async def test_remarks_of_another_server_reach_the_request_they_are_about(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait, make_request: Any
) -> None:
    flags = {"guards": [{"name": "schema", "action": "flag"}], "expose_flags": True}
    plane.apply(Directory(1, (served(**flags),)))
    link = make_link(manual=True)
    plane.add_link("m", "1", link)
    await eventually(lambda: link.held)
    link.answer()  # the proof
    await eventually(lambda: plane.resolve("m").ready)
    asked = [
        asyncio.ensure_future(plane.infer(make_request(value=n))) for n in (1.0, 2.0, float("nan"))
    ]
    await eventually(lambda: link.held)
    said = ResponseParameters({"n": 7}, {"y": {"unit": "m"}})
    link.answer(remarks={1: said, 2: said}, failed={0: "no"}, outputs={"y": np.ones((2, 2), "f4")})
    with pytest.raises(errors.ModelFailed, match="no"):
        await asked[0]
    second, third = await asyncio.gather(*asked[1:])
    assert second.parameters == {"n": 7}
    assert third.parameters == {"n": 7, "vigil_flags": "schema"}
    assert second.outputs[0].parameters == {"unit": "m"}
    again = asyncio.ensure_future(plane.infer(make_request()))
    await eventually(lambda: link.held)
    link.answer()
    assert (await again).parameters is None


async def test_the_version_of_an_answer_is_that_of_the_other_server(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait, make_request: Any
) -> None:
    plane.apply(Directory(1, (served(),)))
    link = make_link(manual=True)
    plane.add_link("m", "1", link)
    await eventually(lambda: link.held)
    link.answer()  # the proof
    await eventually(lambda: plane.resolve("m").ready)
    asked = [asyncio.ensure_future(plane.infer(make_request(value=n))) for n in (1.0, 2.0)]
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
