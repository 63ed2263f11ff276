"""The example that a replica must answer first."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from serving.channel.messages.directory import Directory
from serving.dataplane.handler import DataPlane


async def test_an_example_that_is_no_request_of_the_model_is_told_by_its_file(
    plane: DataPlane, served: Any
) -> None:
    old = served()
    config = json.loads(old.config) | {"example": "ask.json"}
    tensor = {"name": "z", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}
    example = json.dumps({"inputs": [tensor]}).encode()
    new = msgspec.structs.replace(
        old, revision="new", config=json.dumps(config).encode(), example=example
    )
    plane.apply(Directory(1, (), (), (new,)))
    ((*_, state, reason),) = plane.status()["candidates"]
    assert state == "UNAVAILABLE"
    assert reason.startswith("ask.json, which model.yaml names as `example`: ")
