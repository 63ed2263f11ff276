"""The repository's index: what is served here, what the control plane adds, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from serving.errors import InvalidInput, ModelNotReady, Unsupported, VigilError
from serving.gateway.extensions.repository_index import index
from serving.protocol.repository import ControlMeta

READY = ("m", "1", "READY", "")


def told(plane: Any, *rows: tuple[str, str, str, str]) -> list[ControlMeta]:
    """Have the control plane answer rows; return what it is asked."""
    asked: list[ControlMeta] = []

    async def control(meta: ControlMeta) -> Any:
        asked.append(meta)
        return [dict(zip(("name", "version", "state", "reason"), row, strict=True)) for row in rows]

    plane.control = control
    return asked


async def listed(plane: Any, *, only_ready: bool = False) -> list[tuple[str, ...]]:
    found = await index(plane, only_ready)
    return [(entry.name, entry.version, entry.state, entry.reason) for entry in found]


async def test_versions_are_in_the_order_of_numbers(plane: Any) -> None:
    rows = [("z", "10", "UNAVAILABLE", "a"), ("z", "9", "LOADING", ""), ("a", "", "LOADING", "b")]
    asked = told(plane, *rows)
    assert await listed(plane) == [rows[2], READY, rows[1], rows[0]]
    assert asked == [ControlMeta("index")]
    assert await listed(plane, only_ready=True) == [READY]


async def test_what_is_served_is_told_as_it_is_seen_here(plane: Any, link: Any) -> None:
    told(plane, ("m", "1", "UNAVAILABLE", "its newest files do not load"))
    assert await listed(plane) == [("m", "1", "READY", "its newest files do not load")]
    link.open = False
    told(plane, ("m", "1", "READY", ""))
    ((_, _, state, reason),) = await listed(plane)
    assert (state, reason) == ("UNAVAILABLE", plane.resolve("m").problem)


@pytest.mark.parametrize("error", [ModelNotReady("no"), Unsupported("no"), TimeoutError()])
async def test_without_a_control_plane_what_is_served_is_listed(
    plane: Any, error: Exception
) -> None:
    async def control(_asked: ControlMeta) -> Any:
        raise error

    plane.control = control
    assert await listed(plane) == [READY]


async def test_what_else_goes_wrong_is_no_short_list(plane: Any) -> None:
    async def control(_asked: ControlMeta) -> Any:
        raise InvalidInput("broken")

    plane.control = control
    with pytest.raises(VigilError, match="broken"):
        await index(plane, only_ready=False)
