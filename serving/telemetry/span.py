"""One step of a trace as a value, made once it is over; nothing here knows OpenTelemetry's SDK."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from serving.telemetry.trace_context import SpanIds

Attribute = str | int | float | bool | tuple[str, ...]
SpanKind = Literal["server", "client", "internal"]


class Span(msgspec.Struct, frozen=True):
    """What took how long, within which trace.

    Attributes:
        name: the same for all of its kind.
        ids: where it belongs.
        start_ns, end_ns: nanoseconds since the epoch.
        attributes: by name; the semantic conventions have theirs, all others begin with `vigil.`.
        kind: whether it answers somebody, asks somebody, or neither.
        remote: whether its parent is in another process.
        links: spans of other traces, or of this one, that it worked for.
        failed: whether it counts as an error of this server.
    """

    name: str
    ids: SpanIds
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Attribute]
    kind: SpanKind = "internal"
    remote: bool = False
    links: tuple[SpanIds, ...] = ()
    failed: bool = False


SpanSink = Callable[[Span], None]
"""Takes spans that are over; never waits and never raises."""
