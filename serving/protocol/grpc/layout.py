"""Where in the bytes of a ModelInferRequest the parts lie that change from call to call.

Only for messages as the libraries of all languages write them: fields in the order of their
numbers, none twice that may be there once (https://protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

from typing import Final, NamedTuple

# Tags of fields that carry a length: number << 3 | 2.
MODEL_NAME: Final = 0x0A
MODEL_VERSION: Final = 0x12
ID: Final = 0x1A
_PARAMETERS: Final = 0x22
_INPUTS: Final = 0x2A
_OUTPUTS: Final = 0x32
_RAW_CONTENTS: Final = 0x3A
_REPEATED: Final = frozenset((_PARAMETERS, _INPUTS, _OUTPUTS, _RAW_CONTENTS))
_ONCE: Final = frozenset((MODEL_NAME, MODEL_VERSION, ID))
_CONTENTS: Final = 0x2A
"""Of an input: its typed contents."""

_TYPED: Final = {"FP32": 0x32, "FP64": 0x3A}
"""Of typed contents: the packed fields whose elements all have one size."""


class Span(NamedTuple):
    """A field: its tag, and where its content begins and ends."""

    tag: int
    begin: int
    end: int


class Layout(NamedTuple):
    """The parts of a message.

    Attributes:
        head: bytes of the model's name and version, with their tags.
        rest: where what follows the id begins.
        data: for each input where its elements begin and end.
    """

    head: int
    rest: int
    data: list[Span]


def find_layout(payload: bytes, datatypes: list[str]) -> Layout | None:
    """Return the parts of a valid message with inputs of these datatypes; None: it is unusual."""
    fields = _fields(payload, 0, len(payload))
    if not fields or fields[0].tag != MODEL_NAME:
        return None
    tags = [field.tag for field in fields]
    once = [tag for tag in tags if tag in _ONCE]
    if (
        tags != sorted(tags)
        or len(once) != len(set(once))
        or not _REPEATED.union(once).issuperset(tags)
    ):
        return None
    inputs = [field for field in fields if field.tag == _INPUTS]
    raw = [field for field in fields if field.tag == _RAW_CONTENTS]
    data: list[Span | None] = [*raw]
    if not raw:
        data = [_typed(payload, *each) for each in zip(inputs, datatypes, strict=True)]
    spans = [span for span in data if span is not None]
    if len(spans) != len(inputs):
        return None
    rest = fields[len(once) - 1].end
    head = rest if once[-1] != ID else fields[len(once) - 2].end
    return Layout(head, rest, spans)


def _typed(payload: bytes, given: Span, datatype: str) -> Span | None:
    """Return where the typed contents of an input lie."""
    for tag in (_CONTENTS, _TYPED.get(datatype)):
        fields = [f for f in _fields(payload, given.begin, given.end) or () if f.tag == tag]
        if len(fields) != 1:
            return None
        given = fields[0]
    return given


def _fields(payload: bytes, at: int, end: int) -> list[Span] | None:
    """Return the fields of a message; None where one has no length or a number above 15."""
    spans = []
    while at < end:
        tag = payload[at]
        if tag & 0x87 != 2:
            return None
        length, shift = 0, 0
        while True:
            at += 1
            length |= (payload[at] & 0x7F) << shift
            shift += 7
            if payload[at] < 0x80:
                break
        at += 1
        spans.append(Span(tag, at, at + length))
        at += length
    return spans
