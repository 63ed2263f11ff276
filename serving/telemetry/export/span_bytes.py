"""Spans as the bytes of OTLP, each written when it ends; an export only joins them.

https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto.
It is written by hand: the classes of that file cost ten times as much a span, and OpenTelemetry's
exporters use them in a burst, which holds up the requests of the process.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from serving.telemetry.span import Span, SpanKind
from serving.telemetry.trace_context import SpanIds

# Each tag is a field's number and its wire type: number << 3 | type.
_RESOURCE_SPANS: Final = b"\x0a"
_RESOURCE, _SCOPE_SPANS = b"\x0a", b"\x12"
_RESOURCE_ATTRIBUTE: Final = b"\x0a"
_SCOPE, _SPAN = b"\x0a", b"\x12"
_SCOPE_NAME, _SCOPE_VERSION = b"\x0a", b"\x12"

_IDS: Final = b"\x0a\x10%b\x12\x08%b"
_PARENT: Final = b"\x22\x08"
_NAME: Final = b"\x2a"
_KINDS: Final = {"internal": b"\x30\x01", "server": b"\x30\x02", "client": b"\x30\x03"}
_TIMES: Final = struct.Struct("<cQcQ").pack
_START, _END = b"\x39", b"\x41"
_ATTRIBUTE: Final = b"\x4a"
_LINK: Final = b"\x6a\x21" + _IDS + b"\x35\x00\x01\x00\x00"
_UNSET, _ERROR = b"\x7a\x00", b"\x7a\x02\x18\x02"
# It is known of every parent whether it is in another process.
_LOCAL, _REMOTE = b"\x85\x01\x00\x01\x00\x00", b"\x85\x01\x00\x03\x00\x00"

_KEY, _VALUE = b"\x0a", b"\x12"
_STRING, _INT, _ARRAY = b"\x0a", b"\x18", b"\x2a"
_ITEM: Final = b"\x0a"
_BOOL: Final = (b"\x12\x02\x10\x00", b"\x12\x02\x10\x01")
_DOUBLE: Final = struct.Struct("<3sd").pack
_DOUBLE_VALUE: Final = b"\x12\x09\x21"

_ALL_64_BITS: Final = (1 << 64) - 1
_SHORT: Final = [bytes([length]) for length in range(128)]
_KEPT: Final = 1024
"""Attributes that are kept as they are written; requests have most of theirs in common."""
_MOST_KEPT: Final = 128
"""Characters of a text that is kept; clients choose some of them."""


def span_bytes(span: Span) -> bytes:
    """Return a span as a field of a `ScopeSpans`: with its tag and its length.

    Args:
        span: one that is over. What is no Unicode in a text becomes `?`, and of a whole number
            the lower 64 bits are kept.
    """
    ids = span.ids
    parts = [
        _IDS % (ids.trace.to_bytes(16, "big"), ids.span.to_bytes(8, "big")),
        _PARENT + ids.parent.to_bytes(8, "big") if ids.parent else b"",
        _named(span.name, span.kind),
        _TIMES(_START, span.start_ns, _END, span.end_ns),
    ]
    for key, value in span.attributes.items():
        kept = len(value) <= _MOST_KEPT if isinstance(value, str) else isinstance(value, int)
        parts.append(_kept_attribute(key, value) if kept else _attribute(key, value))
    parts += map(_link, span.links)
    parts.append(_ERROR if span.failed else _UNSET)
    parts.append(_REMOTE if span.remote and ids.parent else _LOCAL)
    return _field(_SPAN, b"".join(parts))


class Envelope:
    """What is around the spans of every export.

    Args:
        resource: attributes of what the spans are of.
        scope, version: which software made them.
    """

    def __init__(self, resource: Mapping[str, object], scope: str, version: str) -> None:
        told = [_attribute(key, value, _RESOURCE_ATTRIBUTE) for key, value in resource.items()]
        self._resource = _field(_RESOURCE, b"".join(told))
        named = _text(_SCOPE_NAME, scope) + _text(_SCOPE_VERSION, version)
        self._scope = _field(_SCOPE, named)

    def request(self, spans: Iterable[bytes]) -> bytes:
        """Return an `ExportTraceServiceRequest` with spans that `span_bytes` has written."""
        told = b"".join(spans)
        # Sizes are counted and not the parts put together, which are long.
        size = len(self._scope) + len(told)
        scope_spans = _SCOPE_SPANS + _varint(size)
        size += len(self._resource) + len(scope_spans)
        resource_spans = _RESOURCE_SPANS + _varint(size)
        return b"".join((resource_spans, self._resource, scope_spans, self._scope, told))


def _link(ids: SpanIds) -> bytes:
    return _LINK % (ids.trace.to_bytes(16, "big"), ids.span.to_bytes(8, "big"))


@lru_cache(_KEPT)
def _named(name: str, kind: SpanKind) -> bytes:
    return _text(_NAME, name) + _KINDS[kind]


def _attribute(key: str, value: object, tag: bytes = _ATTRIBUTE) -> bytes:
    return _field(tag, _text(_KEY, key) + _value(value))


# By type as well, for 1, True and 1.0 are equal.
_kept_attribute: Final = lru_cache(_KEPT, typed=True)(_attribute)


def _value(value: object) -> bytes:
    """Return an `AnyValue` as a field; what is of no type that spans have is told as text."""
    if isinstance(value, bool):
        return _BOOL[value]
    if isinstance(value, int):
        return _field(_VALUE, _INT + _varint(value & _ALL_64_BITS))
    if isinstance(value, float):
        return _DOUBLE(_DOUBLE_VALUE, value)
    if isinstance(value, tuple):
        told = b"".join([_field(_ITEM, _text(_STRING, str(each))) for each in value])
        return _field(_VALUE, _field(_ARRAY, told))
    return _field(_VALUE, _text(_STRING, str(value)))


def _text(tag: bytes, text: str) -> bytes:
    return _field(tag, text.encode("utf-8", "replace"))


def _field(tag: bytes, content: bytes) -> bytes:
    size = len(content)
    return tag + (_SHORT[size] if size < 128 else _varint(size)) + content


def _varint(number: int) -> bytes:
    if number < 128:
        return _SHORT[number]
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)
