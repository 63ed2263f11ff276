"""Who answers a request: names, versions, and what is kept of a choice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import errors
from serving.channel.messages.directory import Directory
from serving.dataplane.context import NO_CONTEXT
from serving.dataplane.handler import DataPlane
from serving.dataplane.routing import Route, Router
from serving.protocol.messages import InferRequest

Wait = Callable[[Callable[[], object]], Awaitable[None]]


async def test_unknown_names(plane: DataPlane, served: Any) -> None:
    plane.apply(Directory(1, (served(),), ()))
    with pytest.raises(errors.ModelNotFound, match="Request for unknown model: 'q'"):
        plane.resolve("q")
    with pytest.raises(errors.VersionNotFound, match="it has 1"):
        plane.resolve("m", "2")
    for wrong in ("newest", "-1", "1.0", "²"):
        with pytest.raises(errors.VersionNotFound, match="failed to get model version"):
            plane.resolve("m", wrong)
    with pytest.raises(errors.ModelNotFound) as caught:
        plane.resolve("n" * 10_000)
    assert len(caught.value.message) < 300


async def test_the_newest_ready_version_answers_unless_one_is_named(
    plane: DataPlane, served: Any, make_link: Any, eventually: Wait
) -> None:
    plane.apply(Directory(1, tuple(served(version=v) for v in ("2", "10", "9")), ()))
    assert plane.versions("m") == ["2", "9", "10"]
    assert plane.resolve("m").version == "10"  # none is ready: the newest says why
    for version in ("2", "9"):
        plane.add_link("m", version, make_link(version))
    await eventually(lambda: plane.resolve("m").version == "9")
    plane.add_link("m", "10", make_link("10"))
    await eventually(lambda: plane.resolve("m").version == "10")
    assert plane.resolve("m", "2").version == "2"


class Fake:
    """An endpoint that is only looked at."""

    def __init__(self, version: str, ready: bool = True, name: str = "m") -> None:
        self.name, self.version, self.ready = name, version, ready


def asked(version: str = "", name: str = "m") -> InferRequest:
    return InferRequest(name, version, "id", ())


@pytest.fixture
def router() -> Router:
    router = Router()
    router.told = True
    return router


def test_nothing_is_unknown_before_anything_is_told() -> None:
    router = Router()
    with pytest.raises(
        errors.ModelNotReady, match="the control plane has not said yet what is served"
    ):
        router.choose(asked(), NO_CONTEXT)
    router.told = True
    with pytest.raises(errors.ModelNotFound):
        router.choose(asked(), NO_CONTEXT)


def test_a_route_is_made_once_and_kept(router: Router) -> None:
    route = Route(Fake("1"), "blue", 0.5)
    router.put(route)
    assert all(router.choose(asked(version), NO_CONTEXT) is route for version in ("", "1", ""))
    assert (route.arm, route.propensity, route.mirrors) == ("blue", 0.5, ())


def test_the_only_version_is_not_asked_whether_it_is_ready(router: Router) -> None:
    class Shy(Fake):
        ready = property(lambda _: pytest.fail("asked"), lambda *_: None)  # type: ignore[assignment]

    router.put(Route(Shy("7")))
    assert router.choose(asked(), NO_CONTEXT).endpoint.version == "7"


def test_a_choice_is_wrong_in_the_words_of_a_look_up(router: Router) -> None:
    router.put(Route(Fake("1")))
    for name, version in (("m", "2"), ("m", "newest"), ("q", ""), ("q", "1")):
        with pytest.raises(errors.VigilError) as chosen:
            router.choose(asked(version, name), NO_CONTEXT)
        with pytest.raises(errors.VigilError) as looked_up:
            router.endpoint(name, version)
        assert type(chosen.value) is type(looked_up.value)
        assert chosen.value.message == looked_up.value.message


VERSIONS = ["1", "2", "9", "10"]
steps = st.tuples(st.sampled_from(["put", "remove", "turn"]), st.sampled_from(VERSIONS))


@given(st.lists(steps, max_size=20))
def test_a_choice_is_the_newest_ready_version_whatever_came_before(
    done: list[tuple[str, str]],
) -> None:
    router = Router()
    router.told = True
    served: dict[str, Route] = {}
    for step, version in done:
        if step == "put":
            served[version] = Route(Fake(version, ready=len(served) % 2 == 0))
            router.put(served[version])
        elif step == "remove":
            served.pop(version, None)
            router.remove("m", version)
        elif version in served:
            served[version].endpoint.ready ^= True  # type: ignore[misc]
        assert router.versions("m") == sorted(served, key=int)
        for named in VERSIONS:
            if named in served:
                assert router.choose(asked(named), NO_CONTEXT) is served[named]
        if not served:
            with pytest.raises(errors.ModelNotFound):
                router.choose(asked(), NO_CONTEXT)
            continue
        ready = [number for number, route in served.items() if route.endpoint.ready]
        newest = served[max(ready or served, key=int)]
        assert router.choose(asked(), NO_CONTEXT) is newest
        assert router.endpoint("m") is newest.endpoint
