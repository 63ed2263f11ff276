"""Where lines of the log go: what `vigil.yaml` says first, then OpenTelemetry's variables."""

from __future__ import annotations

import pytest

from serving.config import ConfigError, ServerConfig, parse
from serving.telemetry.logs.collected import ENDPOINT, PROTOCOL, Collector, collector_of

URL = "http://127.0.0.1:4318"
SPECIFIC, GENERAL = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
DEFAULT = Collector(None, "http/protobuf")


@pytest.mark.parametrize(
    ("environment", "collector"),
    [
        ({}, None),
        ({GENERAL: "  ", ENDPOINT: ""}, None),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": URL}, None),
        ({GENERAL: URL}, DEFAULT),  # the exporter reads these two itself
        ({SPECIFIC: URL}, DEFAULT),
        ({ENDPOINT: URL}, Collector(f"{URL}/v1/logs", "http/protobuf")),
        ({ENDPOINT: URL + "/v1/logs", GENERAL: "x"}, Collector(f"{URL}/v1/logs", "http/protobuf")),
        ({ENDPOINT: URL, PROTOCOL: "grpc"}, Collector(URL, "grpc")),
        ({GENERAL: URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, Collector(None, "grpc")),
        (
            {GENERAL: URL, PROTOCOL: "http/protobuf", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "grpc"},
            DEFAULT,
        ),
        ({ENDPOINT: URL, "OTEL_SDK_DISABLED": "True"}, None),
        ({ENDPOINT: URL, "OTEL_LOGS_EXPORTER": "none"}, None),
        ({SPECIFIC: URL, "OTEL_TRACES_EXPORTER": "none"}, DEFAULT),
    ],
)
def test_where_lines_go(environment: dict[str, str], collector: Collector | None) -> None:
    assert collector_of(environment) == collector


def test_a_variable_that_means_nothing_is_told_of() -> None:
    found = collector_of({GENERAL: URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke signals"})
    assert found is not None
    assert found.protocol == "http/protobuf"
    (said,) = found.ignored
    assert said == (
        "OTEL_EXPORTER_OTLP_PROTOCOL is 'smoke signals', which is ignored: logs go by "
        "http/protobuf or grpc"
    )


@pytest.mark.parametrize(
    "wrong", ["localhost:4318", "ftp://h", "http://", "http://h:0", "http://["]
)
def test_an_endpoint_must_be_one(wrong: str) -> None:
    raw = {"telemetry": {"logs": {"endpoint": wrong}}}
    with pytest.raises(ConfigError, match=r"telemetry\.logs\.endpoint: .*is no collector; write"):
        parse(ServerConfig, raw, "vigil.yaml")
