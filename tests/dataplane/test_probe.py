"""The example that a replica must answer first."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from serving import errors
from serving.channel.messages.directory import Directory
from serving.channel.messages.inference import PROBE
from serving.dataplane.handler import DataPlane
from serving.dataplane.links.link import ReplicaLost
from serving.dataplane.probe import Probe
from serving.dataplane.requests.binding import Binder

Wait = Callable[[Callable[[], object]], Awaitable[None]]


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
    (candidate,) = plane.status().candidates
    state, reason = candidate.state, candidate.reason
    assert state == "UNAVAILABLE"
    assert reason.startswith("ask.json, which model.yaml names as `example`: ")


@pytest.fixture
def probe(make_config: Any) -> Callable[..., Probe]:
    def make(**changes: Any) -> Probe:
        config = make_config(**changes)
        return Probe("m", "1", config, Binder("m", config), None)

    return make


@pytest.mark.parametrize(
    ("error", "problem", "told"),
    [
        (ReplicaLost("r0"), "a replica died in its first inference", True),
        (errors.Unsupported("not I"), "not I", True),
        (errors.ModelNotReady("loading"), "loading", False),
        (ValueError("?"), "a replica's first answer cannot be read; see the server's log", True),
    ],
)
async def test_what_comes_instead_of_an_answer_is_no_proof(
    probe: Any, make_link: Any, eventually: Wait, caplog: Any,
    error: Exception, problem: str, told: bool,
) -> None:  # fmt: skip
    link = make_link(manual=True)
    run = asyncio.ensure_future(probe().run(link))
    await eventually(lambda: link.held)
    link.fail(error)
    assert await run == problem
    assert ("so it gets no traffic from here" in caplog.text) == told


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (
            {"failed": {0: "oh"}, "outputs": {}},
            "without an example, a row of zeros fails: oh; name a request that it answers by",
        ),
        ({"outputs": {}}, "the model does not give output 'y'"),
    ],
)
async def test_an_answer_that_is_none_is_no_proof_and_is_logged(
    probe: Any, make_link: Any, eventually: Wait, caplog: Any, answer: Any, problem: str
) -> None:
    link = make_link(manual=True)
    run = asyncio.ensure_future(probe().run(link))
    await eventually(lambda: link.held)
    link.answer(**answer)
    assert (await run).startswith(problem)
    assert caplog.text.count("so it gets no traffic from here") == 1


async def test_a_model_without_an_example_answers_zeros(probe: Any, make_link: Any) -> None:
    link = make_link()
    assert await probe().run(link) is None
    (batch,) = link.batches
    assert batch.arrays[0].tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (errors.Unreachable("nobody there"), "nobody there"),
        (errors.ModelFailed("no"), None),
        (ReplicaLost("r0"), None),
        (None, None),
    ],
)
async def test_a_server_that_refuses_is_there(
    probe: Any, make_link: Any, eventually: Wait, error: Exception | None, problem: str | None
) -> None:
    link = make_link(manual=True)
    made = probe(format="remote", remote={"url": "grpc://127.0.0.1:1"})
    asked = asyncio.ensure_future(made.reach(link))
    await eventually(lambda: link.held)
    assert link.batches[0].items[0].bound.forward == PROBE  # nothing is computed
    if error is None:
        link.answer()
    else:
        link.fail(error)
    assert await asked == problem
