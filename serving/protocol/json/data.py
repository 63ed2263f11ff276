"""The `data` of tensors in JSON: strict about types, ranges and shape in both directions."""

from __future__ import annotations

import math
import struct
from binascii import b2a_base64
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import chain
from re import compile as regex
from typing import Any, Final

import msgspec
import numpy as np

from serving.errors import InvalidInput
from serving.protocol.bytes_tensor import object_array
from serving.protocol.datatypes import NUMPY_OF, bf16_to_fp32, fp32_to_bf16, numpy_dtype
from serving.protocol.messages import Tensor

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for JSON that is malformed or of another form."""

# The type that JSON must have, and the code by which `struct` packs it; packing checks ranges.
_ELEMENTS: Final[dict[str, tuple[type, str]]] = {
    "BOOL": (bool, "?"),
    "UINT8": (int, "B"),
    "UINT16": (int, "H"),
    "UINT32": (int, "I"),
    "UINT64": (int, "Q"),
    "INT8": (int, "b"),
    "INT16": (int, "h"),
    "INT32": (int, "i"),
    "INT64": (int, "q"),
    "FP16": (float, "e"),
    "FP32": (float, "f"),
    "FP64": (float, "d"),
    "BF16": (float, "f"),
}
_FP32: Final = NUMPY_OF["FP32"]
NATIVE: Final = NUMPY_OF.keys() - {"BYTES", "BF16"}
"""Datatypes that orjson writes as they are."""

_starts_nested = regex(rb"\s*\[\s*\[").match


@cache
def _decoder(element: Any, depth: int) -> msgspec.json.Decoder[Any]:
    kind: Any = element
    for _ in range(depth):
        kind = list[kind]
    return msgspec.json.Decoder(kind)


_FLAT: Final = {
    datatype: (_decoder(element, 1).decode, code) for datatype, (element, code) in _ELEMENTS.items()
}


def decode_data(
    name: str, datatype: str, shape: tuple[int, ...], raw: msgspec.Raw | bytes, base64: bool
) -> np.ndarray:
    """Return the JSON text `raw` as a read-only array of `shape`.

    `raw` is one flat list in C order, or lists nested as `shape` says; for shape [] it may be the
    element itself, which is what numpy's `tolist` gives. `base64` says how BYTES are written. In
    floating datatypes `null` is NaN, which JSON has no other word for; that is also how answers
    are written.

    Raises:
        InvalidInput: unknown datatype, an element of another type or out of range, or not as
            many elements as `shape` has.
    """
    known = _FLAT.get(datatype)
    if known is None:
        return _decode_bytes(name, datatype, shape, raw, base64)
    decode, code = known
    text = bytes(raw)
    try:
        # The quick look decides for almost everyone; the full one follows if that was wrong.
        values = decode(text) if text[1:2] != b"[" else None
    except UNREADABLE as error:
        if _is_bare(shape, text):
            return decode_data(name, datatype, shape, b"[%b]" % text, base64)
        if not _starts_nested(text) and not _has_nan(text, datatype):
            raise _unfit(name, datatype, error) from None
        values = None
    if values is None:
        values = _slow(name, datatype, shape, text)
    count = math.prod(shape)
    if len(values) != count:
        raise _wrong_count(name, shape, count, len(values))
    try:
        packed = packer(count, code)(*values)
    except (struct.error, OverflowError):
        raise _out_of_range(name, datatype) from None
    if datatype == "BF16":
        return _bf16(name, np.ndarray(shape, _FP32, packed))
    return np.ndarray(shape, NUMPY_OF[datatype], packed)


@lru_cache(256)
def packer(count: int, code: str) -> Callable[..., bytes]:
    """Return what packs `count` numbers, little-endian; it raises where one is out of range.

    Args:
        count: how many there are.
        code: that of `struct` for each.
    """
    # "<" for its floats: packed natively, 1e39 would become infinity without a word.
    return struct.Struct(f"<{count}{code}").pack


def _slow(name: str, datatype: str, shape: tuple[int, ...], text: bytes) -> list[Any]:
    """Read what is no flat list of numbers: nested lists, and `null` among floats."""
    element: Any = _ELEMENTS[datatype][0]
    if not _has_nan(text, datatype):
        return _nested(name, datatype, shape, text, element)
    kind = element | None
    try:
        values = (
            _nested(name, datatype, shape, text, kind)
            if _starts_nested(text)
            else _decoder(kind, 1).decode(text)
        )
    except UNREADABLE as error:
        raise _unfit(name, datatype, error) from None
    return [math.nan if value is None else value for value in values]


def _is_bare(shape: tuple[int, ...], text: bytes) -> bool:
    return not shape and not text.lstrip().startswith(b"[")


def _has_nan(text: bytes, datatype: str) -> bool:
    return b"null" in text and _ELEMENTS[datatype][0] is float


def _bf16(name: str, values: np.ndarray) -> np.ndarray:
    bits = fp32_to_bf16(values)
    # All ones in the exponent: a finite number was rounded to infinity.
    if ((bits & 0x7FFF) == 0x7F80).any():
        raise _out_of_range(name, "BF16")
    return bits


def _decode_bytes(
    name: str, datatype: str, shape: tuple[int, ...], raw: msgspec.Raw | bytes, base64: bool
) -> np.ndarray:
    numpy_dtype(datatype)
    element: type = bytes if base64 else str
    text = bytes(raw)
    try:
        if _starts_nested(text):
            values = _nested(name, datatype, shape, text, element)
        else:
            values = _decoder(element, 1).decode(text)
    except UNREADABLE as error:
        if _is_bare(shape, text):
            return _decode_bytes(name, datatype, shape, b"[%b]" % text, base64)
        raise _unfit(name, "base64" if base64 else datatype, error) from None
    count = math.prod(shape)
    if len(values) != count:
        raise _wrong_count(name, shape, count, len(values))
    return object_array(values if base64 else [value.encode() for value in values], shape)


def _nested(
    name: str, datatype: str, shape: tuple[int, ...], text: bytes, element: Any
) -> list[Any]:
    try:
        rows: list[Any] = _decoder(element, max(1, len(shape))).decode(text)
    except UNREADABLE as error:
        raise _unfit(name, datatype, error) from None
    if shape and len(rows) != shape[0]:
        raise _ragged(name, shape)
    for size in shape[1:]:
        if not {size}.issuperset(map(len, rows)):
            raise _ragged(name, shape)
        rows = list(chain.from_iterable(rows))
    return rows


def _ragged(name: str, shape: tuple[int, ...]) -> InvalidInput:
    return InvalidInput(f"input '{name}': the nested lists in data do not have shape {list(shape)}")


def _wrong_count(name: str, shape: tuple[int, ...], count: int, given: int) -> InvalidInput:
    return InvalidInput(
        f"input '{name}': shape {list(shape)} has {count} elements, but data has {given}"
    )


def _out_of_range(name: str, datatype: str) -> InvalidInput:
    return InvalidInput(f"input '{name}': data has a value out of range for {datatype}")


def _unfit(name: str, datatype: str, error: Exception) -> InvalidInput:
    return InvalidInput(f"input '{name}': data is not {datatype}: {reason(error)}")


def reason(error: Exception) -> str:
    """Return what a decoder did not like, in words for the client."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "it is not valid UTF-8"
    return str(error).replace("`", "'")


def encode_data(tensor: Tensor, base64: bool) -> np.ndarray | list[str]:
    """Return the elements of `tensor`, flat, as orjson takes them; it writes NaN as null.

    Raises:
        InvalidInput: a BYTES element is not UTF-8 and `base64` is false.
    """
    data = tensor.data
    if tensor.datatype == "BYTES":
        return _encode_bytes(tensor, base64)
    if tensor.datatype == "BF16":
        return bf16_to_fp32(data.ravel())
    return native(data)


def native(data: np.ndarray) -> np.ndarray:
    """Return numbers flat and as orjson takes them: it reads whole elements where they lie."""
    return data.ravel() if data.flags.aligned else data.flatten()


def _encode_bytes(tensor: Tensor, base64: bool) -> list[str]:
    elements: list[bytes] = tensor.data.ravel().tolist()
    if base64:
        return [b2a_base64(element, newline=False).decode("ascii") for element in elements]
    try:
        return [element.decode() for element in elements]
    except UnicodeDecodeError:
        raise InvalidInput(
            f"output '{tensor.name}' holds bytes that are not UTF-8; ask for it with "
            "binary_data or with content_type base64"
        ) from None
