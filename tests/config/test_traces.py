"""What is traced and where it goes: `vigil.yaml` first, then OpenTelemetry's variables."""

from __future__ import annotations

from typing import Any

import pytest

from serving.config import ConfigError, ServerConfig, Traces, parse
from serving.config.traces import TraceSettings, trace_settings

URL = "http://127.0.0.1:4318"
SPECIFIC, GENERAL = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
DEFAULT = TraceSettings(None, "http/protobuf", "parentbased_traceidratio", 0.01)
HERE = TraceSettings(f"{URL}/v1/traces", "http/protobuf", "parentbased_traceidratio", 0.01)


@pytest.mark.parametrize(
    ("section", "environment", "settings"),
    [
        ({}, {}, None),
        ({"sample_ratio": 1}, {"OTEL_TRACES_SAMPLER": "always_on"}, None),
        ({}, {GENERAL: "  "}, None),
        ({}, {GENERAL: URL}, DEFAULT),  # the exporter reads these two itself
        ({}, {SPECIFIC: URL}, DEFAULT),
        ({"endpoint": URL}, {}, HERE),
        ({"endpoint": URL + "/"}, {GENERAL: "http://elsewhere:1"}, HERE),
        ({"endpoint": URL + "/v1/traces"}, {}, HERE),
        (
            {"endpoint": URL, "protocol": "grpc"},
            {},
            TraceSettings(URL, "grpc", "parentbased_traceidratio", 0.01),
        ),
        (
            {},
            {GENERAL: URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_TRACES_SAMPLER_ARG": "0.5"},
            TraceSettings(None, "grpc", "parentbased_traceidratio", 0.5),
        ),
        (
            {"sample_ratio": 0.25},
            {
                GENERAL: URL,
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_TRACES_SAMPLER": "traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": "0.5",
            },
            TraceSettings(None, "http/protobuf", "traceidratio", 0.25),
        ),
        ({"endpoint": URL}, {"OTEL_SDK_DISABLED": "True"}, None),
        ({"endpoint": URL}, {"OTEL_SDK_DISABLED": "yes"}, HERE),
        ({"endpoint": URL}, {"OTEL_TRACES_EXPORTER": "none"}, None),
    ],
)
def test_settings(
    section: dict[str, Any], environment: dict[str, str], settings: TraceSettings | None
) -> None:
    assert trace_settings(Traces(**section), environment) == settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "carrier pigeon"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "much"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.01"),
        ("OTEL_TRACES_SAMPLER_ARG", "-0.1"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan"),
    ],
)
def test_a_variable_that_means_nothing_is_told_of_and_ignored(name: str, value: str) -> None:
    settings = trace_settings(Traces(endpoint=URL), {name: value})
    assert settings is not None
    [said] = settings.ignored
    assert said.startswith(f"{name} is '{value}', which is ignored")
    assert (settings.protocol, settings.sampler, settings.ratio) == (
        "http/protobuf", "parentbased_traceidratio", 0.01,
    )  # fmt: skip


@pytest.mark.parametrize(
    "endpoint", ["collector", "127.0.0.1:4318", "ftp://host:1", "http://", "http://h:99999", ""]
)
def test_an_endpoint_that_is_no_url_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"endpoint.*is no collector; write a URL"):
        parse(ServerConfig, {"telemetry": {"traces": {"endpoint": endpoint}}}, "vigil.yaml")


@pytest.mark.parametrize(("told", "most"), [({}, 200), ({"max_per_second": 7.5}, 7.5),
                                            ({"max_per_second": None}, None)])  # fmt: skip
def test_how_many_are_traced_at_most(told: dict[str, Any], most: float | None) -> None:
    settings = trace_settings(Traces(endpoint=URL, **told), {})
    assert settings is not None
    assert settings.max_per_second == most


@pytest.mark.parametrize("wrong", [0, -1, float("inf"), float("nan"), "many"])
def test_a_limit_that_is_none_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigError, match=r"telemetry\.traces\.max_per_second"):
        parse(ServerConfig, {"telemetry": {"traces": {"max_per_second": wrong}}}, "vigil.yaml")
