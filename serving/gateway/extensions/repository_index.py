"""The index of the `model_repository` extension: what is served, and what is not and why."""

from __future__ import annotations

import asyncio

import msgspec

from serving.dataplane.handler import DataPlane
from serving.errors import ModelNotReady, Unsupported
from serving.protocol.repository import ControlMeta, IndexEntry

CONTROL_TIMEOUT_S = 2.0


async def index(plane: DataPlane, only_ready: bool) -> list[IndexEntry]:
    """Return every known model version, by name and version.

    What is served is told as this gateway sees it; the control plane knows what else lies in the
    repository. Without a control plane, only what is served is listed.
    """
    found = {(entry.name, entry.version): entry for entry in await _of_registry(plane)}
    for entry in plane.entries():
        key = (entry.name, entry.version)
        reason = found[key].reason if key in found else ""
        if entry.ready:
            found[key] = IndexEntry(*key, "READY", reason)
        else:
            found[key] = IndexEntry(*key, "UNAVAILABLE", reason or entry.problem)
    for key, why in plane.refused.items():
        if key not in plane.served_keys:
            found[key] = IndexEntry(*key, "UNAVAILABLE", why)
    entries = sorted(found.values(), key=lambda entry: (entry.name, int(entry.version or 0)))
    return [entry for entry in entries if entry.state == "READY"] if only_ready else entries


async def _of_registry(plane: DataPlane) -> list[IndexEntry]:
    try:
        async with asyncio.timeout(CONTROL_TIMEOUT_S):
            return msgspec.convert(await plane.control(ControlMeta("index")), list[IndexEntry])
    except (ModelNotReady, Unsupported, TimeoutError):
        return []
