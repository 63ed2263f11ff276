"""Who answers a request: names, versions, and what is kept of a choice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving import errors
from serving.channel.messages.directory import Directory
from serving.dataplane.handler import DataPlane

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
