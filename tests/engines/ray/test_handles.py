"""Batches as calls of Serve: when one is sent again, and whose error is raised."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import pytest

from serving.channel import frames
from serving.channel.messages.directory import Directory, Member, ServedModel
from serving.channel.messages.inference import ResultMeta
from serving.config import ModelConfig
from serving.dataplane.handler import DataPlane
from serving.errors import InvalidInput, Unreachable
from serving.protocol.messages import Tensor

with warnings.catch_warnings():
    # What Ray's own imports warn about is not ours to mend.
    warnings.simplefilter("ignore")
    from serving.engines.ray import handles as ray_handles

pytestmark = pytest.mark.ray


class Handle:
    """A deployment handle whose calls give what they are told, one after the other."""

    def __init__(self, results: list[Any]) -> None:
        self._results = results
        self.infer_frame = self

    def remote(self, frame: bytes) -> Any:
        async def result() -> Any:
            given = self._results.pop(0)
            if isinstance(given, Exception):
                raise given
            return frame + given

        return result()


def use(monkeypatch: pytest.MonkeyPatch, results: list[Any]) -> None:
    handle = Handle(results)
    monkeypatch.setattr(ray_handles.serve, "get_deployment_handle", lambda *_: handle)


async def test_call_is_tried_twice_where_serve_knows_no_replica(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, [KeyError(), b"!"])
    assert await ray_handles.serve_call("app")(b"frame") == b"frame!"
    use(monkeypatch, [KeyError(), KeyError(), b"!"])
    with pytest.raises(ray_handles.ReplicaLost) as caught:
        await ray_handles.serve_call("app")(b"frame")
    assert (caught.value.begun, caught.value.link_lost) == (False, True)


async def test_call_is_not_sent_to_a_second_replica_when_the_first_one_dies_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, [ray_handles.RayActorError(), b"!"])
    with pytest.raises(ray_handles.ReplicaLost) as caught:
        await ray_handles.serve_call("app")(b"frame")
    assert (caught.value.begun, caught.value.link_lost) == (None, False)


async def test_call_raises_the_domain_error_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    cause = InvalidInput("send better", retry_after_s=2)
    use(monkeypatch, [ray_handles.RayTaskError("infer_frame", "traceback", cause)])
    with pytest.raises(InvalidInput) as caught:
        await ray_handles.serve_call("app")(b"frame")
    assert caught.value is cause


async def test_call_hides_tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    cause = RuntimeError("broken")
    use(monkeypatch, [ray_handles.RayTaskError("infer_frame", "Traceback ...", cause)])
    with pytest.raises(ray_handles.ModelFailed, match=r"^replica failed: RuntimeError: broken$"):
        await ray_handles.serve_call("app")(b"frame")


async def test_a_model_whose_server_is_gone_is_not_ready_over_handles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = False

    async def call(frame: bytes) -> bytes:
        if gone:
            raise Unreachable("nobody answers at grpc://other:1")
        (x,) = frames.decode(memoryview(frame)[4:]).tensors
        y = Tensor("y", "FP32", x.shape, x.data)
        return b"".join(frames.encode("reply", 1, ResultMeta({}, (), 1, 0), [y]))

    async def until(ready: bool) -> str:
        async with asyncio.timeout(60):
            while plane.ready()[0] is not ready:
                await plane.changed
        return " ".join(plane.ready()[1])

    monkeypatch.setattr(ray_handles, "serve_call", lambda _app: call)
    monkeypatch.setattr(ray_handles, "ASK_REMOTE_S", 0.01)
    config = ModelConfig.model_validate(
        {
            "format": "remote",
            "remote": {"url": "grpc://other:1"},
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        }
    )
    served = ServedModel("m", "1", config.model_dump_json().encode(), "nowhere")
    plane = DataPlane("g", channel=False)
    links = ray_handles.HandleLinks(plane)
    plane.apply(Directory(1, (served,), (Member("replica", "r", 1, "", "m", "1", slots=2),)))
    await until(True)
    gone = True
    assert "nobody answers at grpc://other:1" in await until(False)
    gone = False
    await until(True)
    plane.close()
    await asyncio.gather(*links._keepers)


@pytest.mark.parametrize(
    ("key", "app"),
    [
        (("lab", "1", "abc"), "vigil-replica-lab-1-abc"),
        (("lab", "1", ""), "vigil-replica-lab-1"),
    ],
)
def test_an_application_is_named_after_its_revision(key: Any, app: str) -> None:
    assert ray_handles.replica_app(key) == app
