"""The JSON form of an inference request, as msgspec reads it."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from serving.errors import InvalidInput
from serving.protocol.json.data import UNREADABLE, reason
from serving.protocol.json.duplicates import refuse_duplicates
from serving.protocol.tensors import MAX_NAME, MAX_RANK, MOST_TENSORS

Dimension = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Shape = Annotated[tuple[Dimension, ...], msgspec.Meta(max_length=MAX_RANK)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
Scalars = dict[str, bool | int | float | str | None]
MaybeScalars = Scalars | None | UnsetType

NO_DATA: Final = msgspec.Raw(b"")


class WireInput(msgspec.Struct):
    """One input; `data` is kept as text until its datatype is known."""

    name: Name
    datatype: str
    shape: Shape
    data: msgspec.Raw = NO_DATA
    parameters: MaybeScalars = UNSET


class WireOutput(msgspec.Struct):
    """One requested output."""

    name: Name
    parameters: MaybeScalars = UNSET


Outputs = Annotated[list[WireOutput], msgspec.Meta(max_length=MOST_TENSORS)]


class WireRequest(msgspec.Struct):
    """The whole request. What is null is not what is not there: it has a key."""

    inputs: Annotated[list[WireInput], msgspec.Meta(min_length=1, max_length=MOST_TENSORS)]
    id: str | UnsetType | None = UNSET
    parameters: MaybeScalars = UNSET
    outputs: Outputs | UnsetType | None = UNSET


_decode = msgspec.json.Decoder(WireRequest).decode


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
    keys = 1 + (wire.id is not UNSET) + _count_parameters(wire.parameters)
    for tensor in wire.inputs:
        keys += 3 + (tensor.data is not NO_DATA)
        if tensor.parameters is not UNSET:
            keys += _count_parameters(tensor.parameters)
    if wire.outputs is not UNSET:
        keys += 1 + count_output_keys(wire.outputs or [])
    return keys


def _count_parameters(parameters: MaybeScalars) -> int:
    return 0 if parameters is UNSET else 1 + len(parameters or ())


def count_output_keys(outputs: list[WireOutput]) -> int:
    """Return how many keys there are in a list of outputs."""
    return sum([1 + _count_parameters(output.parameters) for output in outputs])


def _refuse_duplicates(text: bytes, wire: WireRequest) -> None:
    if b"\\" not in text and text.count(b":") == _count_keys(wire) + _colons_in_text(wire):
        return
    refuse_duplicates(_without_data(text, wire), "the request")


def _without_data(text: bytes, wire: WireRequest) -> bytes:
    """Return `text` with 0 for the data of its inputs, in which any object is refused anyway."""
    pieces: list[bytes] = []
    end = 0
    for tensor in wire.inputs:
        if len(tensor.data) < 2:
            continue
        # Where the data lies, and not what it looks like: the same bytes may stand in a text.
        begin = offset(tensor.data, text)
        pieces += (text[end:begin], b"0")
        end = begin + len(tensor.data)
    return b"".join([*pieces, text[end:]])


def offset(part: msgspec.Raw, text: bytes) -> int:
    """Return where in `text` the part begins that msgspec has read from it and not copied."""
    return _address(part) - _address(text)


def _address(text: bytes | msgspec.Raw) -> int:
    address: int = np.frombuffer(text, np.uint8).__array_interface__["data"][0]
    return address


def _colons_in_text(wire: WireRequest) -> int:
    texts = [wire.id or "", *_texts(wire.parameters)]
    colons = 0
    for tensor in wire.inputs:
        texts += (tensor.name, tensor.datatype, *_texts(tensor.parameters))
        colons += bytes(tensor.data).count(b":")
    for output in wire.outputs or ():
        texts += (output.name, *_texts(output.parameters))
    return colons + sum(text.count(":") for text in texts)


def _texts(parameters: MaybeScalars) -> list[str]:
    if not parameters:
        return []
    return [*parameters, *(value for value in parameters.values() if isinstance(value, str))]
