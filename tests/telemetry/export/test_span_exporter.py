"""Exporters that send what is bytes already, and what of OpenTelemetry's packages that rests on."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags

from serving.telemetry.collector import Protocol, for_exporter
from serving.telemetry.export.span_bytes import Envelope, span_bytes
from serving.telemetry.export.span_exporter import HOOK, JoiningExporter, open_exporter
from serving.telemetry.span import Span
from serving.telemetry.trace_context import SpanIds

MODULES = {
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "grpc": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
}
ENVELOPE = Envelope({"service.name": "vigil"}, "vigil", "1")


@pytest.fixture(params=MODULES)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def module(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> Any:
    found = import_module(MODULES[protocol])
    monkeypatch.setattr(found, HOOK, encode_spans)
    return found


@pytest.fixture
def collector(protocol: Protocol, receiver: Any, grpc_receiver: Any) -> Any:
    return receiver if protocol == "http/protobuf" else grpc_receiver


@pytest.fixture
def exporter(protocol: Protocol, collector: Any, module: Any) -> SpanExporter:
    return open_exporter(for_exporter(collector.url, protocol, "traces"), protocol)


def test_the_hook_is_where_the_installed_packages_call_it(
    exporter: SpanExporter, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If this fails, OpenTelemetry's exporters encode in another way: `_take_bytes` is to follow.

    They must look up `encode_spans` in their module at each export, and hand it what they got.
    """
    given = []

    def noted(batch: Any) -> Any:
        given.append(batch)
        return encode_spans([])

    monkeypatch.setattr(module, HOOK, noted)
    batch: list[ReadableSpan] = []
    assert exporter.export(batch) is SpanExportResult.SUCCESS
    assert given == [batch]
    assert given[0] is batch


def test_joined_spans_arrive(exporter: SpanExporter, collector: Any) -> None:
    spans = [span_bytes(Span("step", SpanIds(7, number), 1, 2, {})) for number in (1, 2, 3)]
    joining = JoiningExporter(exporter, ENVELOPE)
    assert joining.export(spans) is SpanExportResult.SUCCESS
    assert [span.span_id[-1] for span in collector.spans] == [1, 2, 3]
    joining.shutdown()
    assert joining.export(spans) is SpanExportResult.FAILURE


def test_spans_of_others_go_as_before(
    exporter: SpanExporter, protocol: Protocol, collector: Any
) -> None:
    again = open_exporter(for_exporter(collector.url, protocol, "traces"), protocol)
    context = SpanContext(1, 2, False, TraceFlags(TraceFlags.SAMPLED))
    for each in (exporter, again):
        assert each.export([ReadableSpan("theirs", context)]) is SpanExportResult.SUCCESS
    assert [span.name for span in collector.spans] == ["theirs", "theirs"]


def test_a_package_without_the_hook_is_said(
    protocol: Protocol, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(module, HOOK)
    with pytest.raises(RuntimeError, match="has no `encode_spans` any more; install"):
        open_exporter(None, protocol)
