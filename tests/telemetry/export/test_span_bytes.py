"""Spans as bytes: the same as OpenTelemetry's own encoder makes of them."""

from __future__ import annotations

import random
from typing import Any, get_args

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags
from opentelemetry.trace import SpanKind as TheirKind

from serving.telemetry.export.span_bytes import Envelope, span_bytes
from serving.telemetry.span import Attribute, Span, SpanKind
from serving.telemetry.trace_context import SpanIds

RESOURCE = {"service.name": "vigil", "service.version": "1.2.3", "many": "x" * 300}
SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def received(*spans: Span) -> ExportTraceServiceRequest:
    request = Envelope(RESOURCE, "vigil", "1.2.3").request(map(span_bytes, spans))
    return ExportTraceServiceRequest.FromString(request)


def theirs(*spans: Span) -> ExportTraceServiceRequest:
    """What OpenTelemetry's encoder makes of the same spans."""
    scope = InstrumentationScope("vigil", "1.2.3")
    return encode_spans(
        [
            ReadableSpan(
                span.name,
                SpanContext(span.ids.trace, span.ids.span, False, SAMPLED),
                SpanContext(span.ids.trace, span.ids.parent, span.remote, SAMPLED)
                if span.ids.parent
                else None,
                Resource(RESOURCE),
                span.attributes,
                links=[Link(SpanContext(each.trace, each.span, False)) for each in span.links],
                kind=TheirKind[span.kind.upper()],
                status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
                start_time=span.start_ns,
                end_time=span.end_ns,
                instrumentation_scope=scope,
            )
            for span in spans
        ]
    )


def random_text(random_: random.Random) -> str:
    letters = [chr(random_.choice([65, 0, 10, 228, 8364, 128578])) for _ in range(8)]
    return "".join(letters) * random_.choice([0, 1, 5, 17, 3000])


def random_attribute(random_: random.Random) -> Attribute:
    return random_.choice(
        [
            random_text(random_),
            random_.randrange(-(1 << 63), 1 << 63),
            random_.randrange(300),
            random_.random() * 10 ** random_.randrange(-300, 300),
            random_.choice([-0.0, 0.0, float("inf"), 1.0]),
            random_.choice([True, False]),
            random_.choice([0, 1, -1]),
            tuple(random_text(random_) for _ in range(random_.randrange(4))),
        ]
    )


def random_span(random_: random.Random) -> Span:
    def ids(parent: int = 0) -> SpanIds:
        return SpanIds(random_.getrandbits(128) or 1, random_.getrandbits(64) or 1, parent)

    start = random_.randrange(1 << 63)
    return Span(
        random_text(random_),
        ids(random_.choice([0, random_.getrandbits(64), 1])),
        start,
        start + random_.randrange(1 << 40),
        # Few names, so that equal values of different types meet under one.
        {f"vigil.{random_.randrange(5)}": random_attribute(random_) for _ in range(6)},
        random_.choice(get_args(SpanKind)),
        random_.random() < 0.5,
        tuple(ids() for _ in range(random_.choice([0, 1, 3]))),
        random_.random() < 0.5,
    )


@pytest.mark.parametrize("seed", range(20))
def test_random_spans_are_what_opentelemetry_makes_of_them(seed: int) -> None:
    random_ = random.Random(seed)
    spans = [random_span(random_) for _ in range(random_.choice([1, 40]))]
    ours, same = received(*spans), theirs(*spans)
    assert ours == same
    # Nothing in it is unknown to them, either.
    assert len(ours.SerializeToString()) == len(same.SerializeToString())


def attributes(**given: Any) -> dict[str, Any]:
    (span,) = received(Span("step", SpanIds(1, 2), 1, 2, given)).resource_spans[0].scope_spans[
        0
    ].spans  # fmt: skip
    told = {item.key: item.value for item in span.attributes}
    return {
        key: (value.WhichOneof("value"), getattr(value, value.WhichOneof("value")))
        for key, value in told.items()
    }


def test_equal_values_of_different_types_stay_apart() -> None:
    for value, kind in ((1, "int_value"), (True, "bool_value"), (1.0, "double_value")):
        assert attributes(same=value) == {"same": (kind, value)}


def test_what_opentelemetry_would_leave_out_is_told_as_well_as_it_can_be() -> None:
    assert attributes(a="x\ud800y") == {"a": ("string_value", "x?y")}
    assert attributes(a=1 << 64 | 5) == {"a": ("int_value", 5)}
    assert attributes(a=None) == {"a": ("string_value", "None")}
