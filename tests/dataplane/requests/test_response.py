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
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.response import Responder
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
    link.answer(
        response_parameters={1: said, 2: said},
        failed={0: "no"},
        outputs={"y": np.ones((2, 2), "f4")},
    )
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
    link.answer(response_parameters={1: ResponseParameters({}, {}, "v0.1.0")})
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


def test_outputs_come_in_the_order_asked_for_and_all_without_an_order(make_config: Any) -> None:
    outputs = [{"name": name, "datatype": "FP32", "shape": [-1, 1]} for name in ("a", "b")]
    responder = Responder("m", "3", make_config(outputs=outputs))
    given = {name: np.ones((2, 1), np.float32) for name in ("b", "a", "more")}
    request = InferRequest("m", "", "id", ())
    for wanted, told in (((), ["a", "b"]), (("b", "a"), ["b", "a"]), (("b",), ["b"])):
        response = responder.respond(request, wanted, Answer(given, [], None))
        assert [output.name for output in response.outputs] == told
        assert (response.model_name, response.model_version, response.id) == ("m", "3", "id")
        assert response.parameters is None


@pytest.mark.parametrize("expose", [True, False])
def test_flags_are_told_only_where_the_model_says_so(make_config: Any, expose: bool) -> None:
    responder = Responder("m", "1", make_config(expose_flags=expose))
    answer = Answer({"y": np.ones((1, 2), np.float32)}, ["schema", "range"], None)
    response = responder.respond(InferRequest("m", "", "id", ()), (), answer)
    assert response.parameters == ({"vigil_flags": "schema,range"} if expose else None)
