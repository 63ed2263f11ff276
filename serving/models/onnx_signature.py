"""What an ONNX graph takes and gives, read from its protobuf without ONNX Runtime.

The file is walked from field to field and weights are skipped, so a hostile one costs neither
memory nor much time. Numbers of fields are those of `onnx.proto`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from serving.config import ConfigError
from serving.models.signature import FEATURES, Signature, Tensor

_DATATYPES: Final = {
    1: "FP32", 2: "UINT8", 3: "INT8", 4: "UINT16", 5: "INT16", 6: "INT32", 7: "INT64", 8: "BYTES",
    9: "BOOL", 10: "FP16", 11: "FP64", 12: "UINT32", 13: "UINT64",
}  # fmt: skip
"""OIP datatypes by ONNX's number. BF16 is left out: `onnx` does not serve it."""

MOST_FIELDS: Final = 1 << 20
"""Fields that are looked at: more than large graphs have nodes and weights."""
# Old graphs list their weights among the inputs.
_MOST_VALUES: Final = 16 << 10
_MOST_DESCRIPTION: Final = 64 << 10
_MOST_NAME: Final = 1 << 10

_MODEL_GRAPH: Final = 7
_INITIALIZER, _INPUT, _OUTPUT = 5, 11, 12
_TENSOR_NAME: Final = 8
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR: Final = 1
_ELEMENT, _SHAPE = 1, 2
_DIM: Final = 1
_DIM_VALUE: Final = 1

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Damaged(Exception):
    """The bytes are no protobuf of a graph; the message says why."""


class _Field(NamedTuple):
    """One field of a message: its number, and its value if that is a varint, else its place."""

    number: int
    value: int | None
    start: int
    end: int


def read_onnx_signature(path: Path) -> Signature:
    """Read the inputs and outputs of the graph at `path`.

    Inputs that have a value in the file are weights and left out, and so is an output called
    `features`, which is the guards'. Axes without a size are free.

    Raises:
        ConfigError: the file is no graph, or one of too many parts.
    """
    try:
        with path.open("rb") as file:
            walk = _Walk(file)
            model = _Field(0, None, 0, os.fstat(file.fileno()).st_size)
            graphs = list(walk.inside(model, _MODEL_GRAPH))
            if not graphs:
                raise _Damaged("it holds none")
            return _signature(walk, graphs)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except _Damaged as error:
        raise ConfigError(f"{path}: is no ONNX graph: {error}") from None


def _signature(walk: _Walk, graphs: list[_Field]) -> Signature:
    inputs: dict[str, Tensor] = {}
    outputs: list[Tensor] = []
    for graph in graphs:
        for field in walk.inside(graph, _INPUT, _OUTPUT):
            tensor = _tensor(walk, field)
            if field.number == _INPUT:
                inputs[tensor.name] = tensor
            elif tensor.name != FEATURES:
                outputs.append(tensor)
            if len(inputs) + len(outputs) > _MOST_VALUES:
                raise _Damaged("it has too many inputs and outputs")
    for graph in graphs:
        for weight in walk.inside(graph, _INITIALIZER):
            for name in walk.inside(weight, _TENSOR_NAME):
                inputs.pop(walk.text(name), None)
    return Signature(list(inputs.values()), outputs)


def _tensor(walk: _Walk, value: _Field) -> Tensor:
    if value.end - value.start > _MOST_DESCRIPTION:
        raise _Damaged("an input or output has a description that is too long")
    name, datatype = "", None
    shape: list[int | None] | None = None
    for field in walk.inside(value, _VALUE_NAME, _VALUE_TYPE):
        if field.number == _VALUE_NAME:
            name = walk.text(field)
            continue
        for tensor in walk.inside(field, _TYPE_TENSOR):
            for part in walk.inside(tensor, _ELEMENT, _SHAPE):
                if part.number == _ELEMENT:
                    datatype = _DATATYPES.get(part.value or 0)
                else:
                    shape = [_size(walk, axis) for axis in walk.inside(part, _DIM)]
    return Tensor(name, datatype, shape)


def _size(walk: _Walk, axis: _Field) -> int | None:
    for field in walk.inside(axis, _DIM_VALUE):
        # Some exporters write -1, which is the largest number here, for a free axis.
        if field.value is not None and field.value < 1 << 63:
            return field.value
    return None


class _Walk:
    """Goes through messages of a file, whose fields it may look at only so often."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = MOST_FIELDS

    def inside(self, message: _Field, *numbers: int) -> Iterator[_Field]:
        """Yield the fields of these `numbers` in `message`, in their order.

        Raises:
            _Damaged: the message is none, or the file has too many fields.
        """
        if message.value is not None:
            raise _Damaged("a number stands where there should be a part")
        place = message.start
        while place < message.end:
            self._left -= 1
            if self._left < 0:
                raise _Damaged("it has too many parts")
            self._file.seek(place)
            field = self._next(message.end)
            place = field.end
            if field.number in numbers:
                yield field

    def text(self, field: _Field) -> str:
        """Return the text of `field`.

        Raises:
            _Damaged: it is too long for a name, or no UTF-8.
        """
        size = field.end - field.start
        if field.value is not None or size > _MOST_NAME:
            raise _Damaged("a name is too long")
        self._file.seek(field.start)
        try:
            return self._file.read(size).decode()
        except UnicodeDecodeError:
            raise _Damaged("a name is no text") from None

    def _next(self, end: int) -> _Field:
        tag = self._varint()
        number, wire = tag >> 3, tag & 7
        value = self._varint() if wire in (_VARINT, _BYTES) else 0
        start = self._file.tell()
        size = {_VARINT: 0, _FIXED64: 8, _FIXED32: 4, _BYTES: value}.get(wire)
        if size is None or not number or start + size > end:
            raise _Damaged("a part ends where it should not")
        return _Field(number, value if wire == _VARINT else None, start, start + size)

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._file.read(1)
            if not byte:
                raise _Damaged("it is cut short")
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                return value & ((1 << 64) - 1)
        raise _Damaged("a number has no end")
