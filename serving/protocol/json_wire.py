"""The JSON form of an inference request, as msgspec reads it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, TypeVar

import msgspec

from serving.errors import InvalidInput
from serving.protocol.json_data import UNREADABLE, reason
from serving.protocol.tensors import MAX_NAME, MAX_RANK

Dimension = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Shape = Annotated[tuple[Dimension, ...], msgspec.Meta(max_length=MAX_RANK)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
Scalars = dict[str, bool | int | float | str | None]

NO_DATA: Final = msgspec.Raw(b"")


class WireInput(msgspec.Struct):
    """One input; `data` is kept as text until its datatype is known."""

    name: Name
    datatype: str
    shape: Shape
    data: msgspec.Raw = NO_DATA
    parameters: Scalars | None = None


class WireOutput(msgspec.Struct):
    """One requested output."""

    name: Name
    parameters: Scalars | None = None


class WireRequest(msgspec.Struct):
    """The whole request."""

    inputs: Annotated[list[WireInput], msgspec.Meta(min_length=1)]
    id: str | None = None
    parameters: Scalars | None = None
    outputs: list[WireOutput] | None = None


_decode = msgspec.json.Decoder(WireRequest).decode
PairsT = TypeVar("PairsT")


def read_request(text: bytes) -> WireRequest:
    """Return the request in `text`.

    Raises:
        InvalidInput: not JSON, not a request, or an object in it has a key twice.
    """
    try:
        wire = _decode(text)
    except UNREADABLE as error:
        if not text:
            raise InvalidInput("the request has no body; send an inference request") from None
        raise InvalidInput(f"the request is not valid: {reason(error)}") from None
    # msgspec lets the last of two equal keys win. Every key brings a colon: as many colons as
    # keys were read means that there was no other key, and none of them twice.
    if text.count(b":") != _count_keys(wire):
        _refuse_duplicates(text, wire)
    return wire


def _count_keys(wire: WireRequest) -> int:
    keys = 1 + (wire.id is not None)
    if wire.parameters is not None:
        keys += 1 + len(wire.parameters)
    for tensor in wire.inputs:
        keys += 3 + (tensor.data is not NO_DATA)
        if tensor.parameters is not None:
            keys += 1 + len(tensor.parameters)
    if wire.outputs is not None:
        keys += 1
        for output in wire.outputs:
            keys += 1
            if output.parameters is not None:
                keys += 1 + len(output.parameters)
    return keys


def _refuse_duplicates(text: bytes, wire: WireRequest) -> None:
    if b"\\" not in text and text.count(b":") == _count_keys(wire) + _colons_in_text(wire):
        return
    try:
        json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            # Only keys matter here; this also keeps long numbers cheap.
            parse_int=bool,
            parse_float=bool,
            parse_constant=bool,
        )
    except (ValueError, RecursionError) as error:
        problem = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise InvalidInput(f"the request is not valid: {problem}") from None


def _colons_in_text(wire: WireRequest) -> int:
    texts = [wire.id or "", *_texts(wire.parameters)]
    colons = 0
    for tensor in wire.inputs:
        texts += (tensor.name, tensor.datatype, *_texts(tensor.parameters))
        colons += bytes(tensor.data).count(b":")
    for output in wire.outputs or ():
        texts += (output.name, *_texts(output.parameters))
    return colons + sum(text.count(":") for text in texts)


def _texts(parameters: Scalars | None) -> list[str]:
    if not parameters:
        return []
    return [*parameters, *(value for value in parameters.values() if isinstance(value, str))]


def _without_duplicates(pairs: list[tuple[str, Any]]) -> None:
    keys = {key for key, _ in pairs}
    if len(keys) != len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise ValueError(f"the key '{twice[:80]}' stands twice in one object")
