"""What programs are told of an instance, as JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from serving.channel.messages.directory import Member, ServedModel
from serving.control.instance_status import instance_status
from serving.control.registry import Registry

Wait = Callable[[Callable[[], object]], Awaitable[None]]


async def test_it_is_plain_json(
    registry: Registry, join: Any, eventually: Wait, served: ServedModel
) -> None:
    generation = registry.set_models([served])
    join(Member("gateway", "g", 12))
    await eventually(lambda: registry.ready()[0])
    told = msgspec.json.decode(msgspec.json.encode(instance_status(registry)))
    (member,) = told.pop("members")
    assert told.pop("generation") > generation
    assert told == {
        "ready": True,
        "reasons": [],
        "models": [{"name": "m", "version": "1", "explainer": "starts with the first question"}],
        "restarts": {},
        "unjudged": ["no monitor is there, so nothing is judged"],
    }
    assert member["member"]["id"] == "g"
    assert (member["ready"], member["restarts"]) == (True, 0)
    assert member["status"]["role"] == "gateway"
