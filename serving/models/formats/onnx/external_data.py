"""Weights that an ONNX graph keeps in other files: found in its protobuf, read and checked.

Numbers of fields are those of `onnx.proto`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from serving.config import ConfigError
from serving.models.formats.protobuf_walk import Damaged, Field, Walk
from serving.models.repository.folder import ModelEntry
from serving.models.repository.manifest import verified_bytes

_LOCATION: Final = b"location"
"""The key that such a tensor must have; a part without these bytes holds none."""
_MOST_DEPTH: Final = 64
_INSIDE: Final = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
}  # fmt: skip
"""Which fields of a message may hold tensors, and what they are."""
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_KEY, _VALUE = 1, 2
_IN_MEMORY: Final = "*/"
"""ONNX Runtime takes an address in its own memory for a path that begins so."""


class _Part(NamedTuple):
    """What a tensor says of its data: a file, and which bytes of it; all as text."""

    location: str
    offset: str
    length: str | None


def external_files(entry: ModelEntry, content: bytes) -> dict[str, bytes]:
    """Return the files in which the graph `content` keeps weights, by the name that it calls them.

    Raises:
        ConfigError: a name leads out of the version's folder, a file is missing, is not the one in
            the manifest or is too short, or the graph is damaged.
    """
    if _LOCATION not in content:
        return {}
    walk = Walk(io.BytesIO(content))
    try:
        parts = [
            _part(walk, tensor) for tensor in _tensors(walk, content, walk.whole(), "model", 0)
        ]
    except Damaged as error:
        raise ConfigError(f"{entry.weights}: is no ONNX graph: {error}") from None
    read: dict[str, bytes] = {}
    found: dict[str, bytes] = {}
    for part in parts:
        if part is not None:
            name = _name(entry, part.location)
            if name not in read:
                read[name] = _read(entry, name)
            found[part.location] = read[name]
            _check_range(entry, part, len(read[name]))
    return found


def _tensors(walk: Walk, content: bytes, message: Field, kind: str, depth: int) -> Iterator[Field]:
    """Yield the tensors in `message` that may have data elsewhere."""
    if kind == "tensor":
        yield message
        return
    if depth > _MOST_DEPTH:
        raise Damaged("it is nested too deeply")
    for field in walk.inside(message, *_INSIDE[kind]):
        if content.find(_LOCATION, field.start, field.end) >= 0:
            yield from _tensors(walk, content, field, _INSIDE[kind][field.number], depth + 1)


def _part(walk: Walk, tensor: Field) -> _Part | None:
    is_elsewhere = False
    about: dict[str, str] = {}
    for field in walk.inside(tensor, _EXTERNAL_DATA, _DATA_LOCATION):
        if field.number == _DATA_LOCATION:
            is_elsewhere = field.value == 1
            continue
        pair = {inner.number: walk.text(inner) for inner in walk.inside(field, _KEY, _VALUE)}
        about[pair.get(_KEY, "")] = pair.get(_VALUE, "")
    if not is_elsewhere:
        return None
    return _Part(about.get("location", ""), about.get("offset", "0"), about.get("length"))


def _name(entry: ModelEntry, location: str) -> str:
    """Return the name that the manifest has for a location, which may be `./w` or `a//w`."""
    path = PurePosixPath(location)
    leads_out = path.is_absolute() or ".." in path.parts or location.startswith(_IN_MEMORY)
    if leads_out or not path.parts:
        raise ConfigError(
            f"{entry.weights}: keeps weights in '{location[:200]}', which is no file of the "
            f"version's folder; save the graph with its weights beside it, under a plain name"
        )
    return path.as_posix()


def _read(entry: ModelEntry, name: str) -> bytes:
    try:
        return verified_bytes(entry.directory, name)
    except ConfigError as error:
        raise ConfigError(f"{error.message} ({entry.weights.name} keeps weights there)") from None


def _check_range(entry: ModelEntry, part: _Part, size: int) -> None:
    numbers = [part.offset, "0" if part.length is None else part.length]
    if not all(number.isascii() and number.isdigit() and len(number) < 20 for number in numbers):
        raise ConfigError(
            f"{entry.weights}: names no place in '{part.location}' for some of its weights "
            f"(offset '{part.offset[:40]}', length '{(part.length or '')[:40]}'); export it anew"
        )
    end = sum(map(int, numbers))
    if end > size:
        raise ConfigError(
            f"{entry.directory / part.location}: has {size} bytes, and {entry.weights.name} keeps "
            f"weights there up to byte {end}; copy the whole file again"
        )
