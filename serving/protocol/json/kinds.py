"""Forms of JSON requests whose numbers are read in one pass, since their datatypes are expected.

`json.wire` keeps the data of an input as text until its datatype is known, so every number is read
twice. Here the datatypes come first, from the requests before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from re import compile as regex
from typing import Any, ClassVar, Final, Generic, TypeVar

import msgspec

from serving.protocol.json.codec import decode_outputs
from serving.protocol.json.wire import (
    NO_DATA,
    Name,
    Outputs,
    Scalars,
    Shape,
    WireRequest,
    count_output_keys,
)
from serving.protocol.messages import Parameters, RequestedOutput
from serving.protocol.parameters import checked_parameters
from serving.protocol.recent import Recent


class Unfit(Exception):
    """A request that must be read by `json.codec`, whatever that says."""


class _KnownInput(msgspec.Struct):
    """What every input has.

    Attributes:
        codes: for datatypes whose elements are in `data`, the code by which `struct` packs them.
        keys: how many keys such an input has without its parameters.
    """

    name: Name
    datatype: str
    shape: Shape
    codes: ClassVar[Mapping[str, str]] = {}
    keys: ClassVar[int] = 4


class Floats(_KnownInput):
    """A flat list of floats."""

    data: list[float]
    parameters: msgspec.Raw = NO_DATA
    codes: ClassVar[Mapping[str, str]] = {"FP16": "e", "FP32": "f", "FP64": "d"}


class Integers(_KnownInput):
    """A flat list of integers."""

    data: list[int]
    parameters: msgspec.Raw = NO_DATA
    codes: ClassVar[Mapping[str, str]] = {
        "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
        "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    }  # fmt: skip


class Booleans(_KnownInput):
    """A flat list of booleans."""

    data: list[bool]
    parameters: msgspec.Raw = NO_DATA
    codes: ClassVar[Mapping[str, str]] = {"BOOL": "?"}


class Text(_KnownInput):
    """Data in any other form: nested lists, texts, null for NaN."""

    data: msgspec.Raw
    parameters: msgspec.Raw = NO_DATA


class Size(msgspec.Struct):
    """The parameters of an input whose data is behind the JSON."""

    binary_data_size: int


class Binary(_KnownInput):
    """An input whose data is behind the JSON, and that says nothing else in its parameters."""

    parameters: Size
    keys: ClassVar[int] = 5


AnyInput = Floats | Integers | Booleans | Text | Binary
Inputs = TypeVar("Inputs", bound=tuple[AnyInput, ...])


class WholeRequest(msgspec.Struct, Generic[Inputs]):
    """A whole request."""

    inputs: Inputs
    id: str | msgspec.UnsetType | None = msgspec.UNSET
    parameters: msgspec.Raw = NO_DATA
    outputs: msgspec.Raw = NO_DATA


KnownRequest = WholeRequest[tuple[AnyInput, ...]]
Kinds = tuple[type[AnyInput], ...]
Decode = Callable[[bytes], KnownRequest]

_MOST_INPUTS: Final = 16
_MOST_KEPT: Final = 512
_LONGEST: Final = 1024
_LISTS: Final[tuple[type[AnyInput], ...]] = (Floats, Integers, Booleans)
_KIND_OF: Final = {datatype: kind for kind in _LISTS for datatype in kind.codes}
_is_flat = regex(rb"\s*\[\s*[^\[\s]").match


def kinds_of(wire: WireRequest) -> Kinds | None:
    """Return what the inputs of a request are; None where one is of no kind, or they are many."""
    if len(wire.inputs) > _MOST_INPUTS:
        return None
    kinds: list[type[AnyInput]] = []
    for given in wire.inputs:
        if given.data is NO_DATA:
            if not given.parameters or len(given.parameters) != 1:
                return None
            kinds.append(Binary)
            continue
        kinds.append(kind_of(given.datatype, bytes(given.data)))
    return tuple(kinds)


def kind_of(datatype: str, data: bytes) -> type[AnyInput]:
    """Return the kind of input that has this datatype and JSON as its data."""
    kind = _KIND_OF.get(datatype, Text)
    return kind if kind is not Text and _is_flat(data) and b"null" not in data else Text


@lru_cache(256)
def decoder(kinds: Kinds) -> Decode:
    """Return what decodes requests whose inputs are of these kinds.

    It raises one of `json.data.UNREADABLE` for others.
    """
    inputs: Any = tuple.__class_getitem__(kinds)
    return msgspec.json.Decoder(WholeRequest[inputs]).decode


_parameters: Recent[bytes, tuple[Parameters | None, int]] = Recent(_MOST_KEPT)
_outputs: Recent[bytes, tuple[tuple[RequestedOutput, ...], int]] = Recent(_MOST_KEPT)
_decode_parameters = msgspec.json.Decoder(Scalars | None).decode
_decode_outputs = msgspec.json.Decoder(Outputs | None).decode


def known_parameters(raw: msgspec.Raw) -> tuple[Parameters | None, int]:
    """Return the parameters in a JSON object, and how many keys it has. They must not be changed.

    Raises:
        Unfit, VigilError, one of `UNREADABLE`: `json.codec` has to look at them.
    """
    text = bytes(raw)
    known = _parameters[text]
    if known is None:
        given = _decode_parameters(text)
        _require_one_colon_each(text, len(given or ()))
        if given and "binary_data_size" in given:
            raise Unfit
        known = (checked_parameters(given), len(given or ()))
        _parameters[text] = known
    return known


def known_outputs(raw: msgspec.Raw) -> tuple[tuple[RequestedOutput, ...], int]:
    """Return the outputs in a JSON list, and how many keys they have.

    Raises:
        Unfit, VigilError, one of `UNREADABLE`: `json.codec` has to look at them.
    """
    text = bytes(raw)
    known = _outputs[text]
    if known is None:
        given = _decode_outputs(text) or []
        keys = count_output_keys(given)
        _require_one_colon_each(text, keys)
        known = (decode_outputs(given), keys)
        _outputs[text] = known
    return known


def _require_one_colon_each(text: bytes, keys: int) -> None:
    """Leave to the codec what may have a key twice, and what is too long to be kept."""
    if len(text) > _LONGEST or text.count(b":") != keys:
        raise Unfit
