"""How a gateway's tracing is switched on, what keeps it off, and that serving goes on meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from serving.config import Traces
from serving.gateway.tracing import GatewayTracing
from serving.telemetry.counters import SeriesSet
from serving.telemetry.span import Span
from serving.telemetry.trace_context import SpanIds

SPAN = Span("step", SpanIds(1, 2), 3, 4, {})


async def test_spans_reach_the_receiver_that_is_configured(receiver: Any) -> None:
    tracing = GatewayTracing(Traces(endpoint=receiver.url, sample_ratio=1), {})
    traces = tracing.start(SeriesSet())
    assert traces is not None
    assert traces.sampler.sample(b"") is not None
    traces.sink(SPAN)
    await tracing.stop()
    assert len(receiver.spans) == 1
    await tracing.stop()


async def test_nothing_is_traced_without_a_receiver() -> None:
    tracing = GatewayTracing(Traces(sample_ratio=1), {})
    assert tracing.start(SeriesSet()) is None
    await tracing.stop()


async def test_what_is_ignored_is_in_the_log(
    receiver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tracing = GatewayTracing(Traces(endpoint=receiver.url), {"OTEL_TRACES_SAMPLER": "mine"})
    assert tracing.start(SeriesSet()) is not None
    await tracing.stop()
    assert "OTEL_TRACES_SAMPLER is 'mine', which is ignored" in caplog.text


async def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # The package and not its module: another test may have imported that already.
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc", None)
    tracing = GatewayTracing(Traces(endpoint="http://127.0.0.1:1", protocol="grpc"), {})
    assert tracing.start(SeriesSet()) is None
    assert "pip install 'vigil[otlp-grpc]'" in caplog.text
    await tracing.stop()


async def test_a_variable_that_the_sdk_refuses_keeps_only_tracing_off(
    monkeypatch: pytest.MonkeyPatch, receiver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "-3")
    tracing = GatewayTracing(Traces(endpoint=receiver.url), {})
    assert tracing.start(SeriesSet()) is None
    assert "nothing is traced" in caplog.text
    await tracing.stop()


@pytest.mark.parametrize("value", ["-3", "0", "many", "1.5"])
@pytest.mark.parametrize("name", ["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"])
async def test_sizes_that_are_none_are_ignored(
    name: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    receiver: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(name, value)
    tracing = GatewayTracing(Traces(endpoint=receiver.url), {})
    assert tracing.start(SeriesSet()) is not None
    assert f"{name} is '{value}', which is ignored" in caplog.text
    await tracing.stop()


async def test_a_gateway_s_plane_traces_from_its_first_version_on(
    receiver: Any, make_composition: Callable[..., Any]
) -> None:
    composition = make_composition(Traces(endpoint=receiver.url, sample_ratio=1))
    plane = await composition.start()
    assert plane.reconciler.traces is not None
    await composition.stop()
    off = make_composition(Traces())
    assert (await off.start()).reconciler.traces is None
    await off.stop()


@pytest.fixture
def make_composition(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Traces], Any]:
    from serving.config import Listen
    from serving.gateway.app import composition_from_environment
    from serving.gateway.process import gateway_environment

    def make(traces: Traces) -> Any:
        environment = gateway_environment(
            Listen(), "g", f"unix:{tmp_path}/registry.sock", None, traces
        )
        for name in list(environment):
            if name.startswith("VIGIL_"):
                monkeypatch.setenv(name, environment[name])
        composition = composition_from_environment()
        composition._guest = True  # its garbage collector is pytest's
        return composition

    return make
