"""Durations by method, route and status, under the conventions' names."""

from __future__ import annotations

import pytest
from opentelemetry.semconv._incubating.attributes import rpc_attributes
from opentelemetry.semconv._incubating.metrics import rpc_metrics
from opentelemetry.semconv.attributes import error_attributes, http_attributes, url_attributes
from opentelemetry.semconv.metrics import http_metrics

from serving.dataplane.hooks.server_durations import ServerDurations
from serving.telemetry.counters import MOST_LATE, SeriesSet
from serving.telemetry.metrics.servers import (
    HTTP_SERVER_REQUEST_DURATION,
    OTHER,
    RPC_SERVER_CALL_DURATION,
)

INFER = "/v2/models/{model_name}[/versions/{model_version}]/infer"
CALL = "/inference.GRPCInferenceService/ModelInfer"


def seen(series: SeriesSet) -> list[tuple[dict[str, str], int]]:
    return [
        (dict(each.attributes), sum(each.counts)) for each in series.snapshot() if sum(each.counts)
    ]


def test_names_are_those_of_the_semantic_conventions() -> None:
    assert HTTP_SERVER_REQUEST_DURATION.name == http_metrics.HTTP_SERVER_REQUEST_DURATION
    assert set(HTTP_SERVER_REQUEST_DURATION.labels) == {
        http_attributes.HTTP_REQUEST_METHOD,
        http_attributes.HTTP_ROUTE,
        http_attributes.HTTP_RESPONSE_STATUS_CODE,
        url_attributes.URL_SCHEME,
        error_attributes.ERROR_TYPE,
    }
    assert RPC_SERVER_CALL_DURATION.name == rpc_metrics.RPC_SERVER_CALL_DURATION
    assert set(RPC_SERVER_CALL_DURATION.labels) == {
        rpc_attributes.RPC_SYSTEM_NAME,
        rpc_attributes.RPC_METHOD,
        rpc_attributes.RPC_RESPONSE_STATUS_CODE,
        error_attributes.ERROR_TYPE,
    }


def test_requests_are_counted_by_method_route_and_status() -> None:
    series = SeriesSet()
    durations = ServerDurations(series)
    durations.request("POST", INFER, 200, 0.007)
    assert sum(durations.inferred.snapshot().counts) == 1  # the series that is prepared
    assert durations.inferred.snapshot().value == 0.007
    series = SeriesSet()
    durations = ServerDurations(series)
    for method in ("BREW", "get", "\x00", OTHER):
        durations.request(method, OTHER, 404, 0.0)
    durations.request("GET", "/v2", 503, 0.1, "https")
    durations.request("GET", "/v2", 503, 0.1, "ws")
    durations.request("POST", INFER, 499, 0.1)  # nobody has got that answer
    fixed = {"http.request.method": "GET", "http.route": "/v2", "http.response.status_code": "503"}
    assert seen(series) == [
        (
            {
                "http.request.method": OTHER,
                "http.response.status_code": "404",
                "http.route": OTHER,
                "url.scheme": "http",
            },
            4,
        ),
        ({**fixed, "error.type": "503", "url.scheme": "https"}, 1),
        ({**fixed, "error.type": "503", "url.scheme": "http"}, 1),
    ]


@pytest.mark.parametrize(
    ("code", "name", "error"),
    [(0, "OK", None), (3, "INVALID_ARGUMENT", None), (14, "UNAVAILABLE", "UNAVAILABLE")],
)
def test_calls_are_counted_by_method_and_status(code: int, name: str, error: str | None) -> None:
    series = SeriesSet()
    durations = ServerDurations(series)
    durations.call(CALL, code, 0.5)
    ((attributes, count),) = seen(series)
    assert count == 1
    assert attributes.pop("error.type", None) == error
    assert attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "inference.GRPCInferenceService/ModelInfer",
        "rpc.response.status_code": name,
    }
    assert sum(durations.called.snapshot().counts) == (code == 0)


def test_what_waits_to_be_counted_stays_short() -> None:
    series = SeriesSet()
    durations = ServerDurations(series)
    for _ in range(MOST_LATE + 1):
        durations.call(CALL, 0, 0.5)
    assert len(durations.called.late) == 1
    assert seen(series)[0][1] == MOST_LATE + 1
