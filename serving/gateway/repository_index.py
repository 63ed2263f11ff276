"""The index of the `model_repository` extension: what is served, and what is not and why."""

from __future__ import annotations

import msgspec

from serving.dataplane.handler import DataPlane
from serving.errors import InvalidInput
from serving.protocol.json_data import UNREADABLE, reason
from serving.protocol.json_duplicates import refuse_duplicates


class IndexEntry(msgspec.Struct, frozen=True):
    """One model version; `state` is READY or UNAVAILABLE, `reason` is empty when it is ready."""

    name: str
    version: str
    state: str
    reason: str


class _IndexBody(msgspec.Struct):
    ready: bool = False


_decode = msgspec.json.Decoder(_IndexBody).decode


def index(plane: DataPlane, only_ready: bool) -> list[IndexEntry]:
    """Return every known model version, by name and version."""
    found = [
        IndexEntry(entry.name, entry.version, "READY", "")
        if entry.ready
        else IndexEntry(entry.name, entry.version, "UNAVAILABLE", entry.problem)
        for entry in plane.entries()
    ]
    found += [
        IndexEntry(name, version, "UNAVAILABLE", why)
        for (name, version), why in plane.refused.items()
    ]
    found.sort(key=lambda entry: (entry.name, int(entry.version)))
    return [entry for entry in found if entry.state == "READY"] if only_ready else found


def wants_only_ready(body: bytes) -> bool:
    """Read the body of an HTTP request for the index; it may be empty.

    Raises:
        InvalidInput: it is no JSON object, or `ready` in it is neither true nor false.
    """
    if not body.strip():
        return False
    try:
        ready = _decode(body).ready
    except UNREADABLE as error:
        raise InvalidInput(f"repository index: {reason(error)}") from None
    refuse_duplicates(body, "the body for the repository index")
    return ready
