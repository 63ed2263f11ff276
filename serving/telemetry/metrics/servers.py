"""Metrics of requests as their transports see them, by OpenTelemetry's semantic conventions.

https://opentelemetry.io/docs/specs/semconv/http/http-metrics/ and .../rpc/rpc-metrics/.
"""

from __future__ import annotations

from typing import Final

from serving.telemetry.metric import Metric

CONVENTION_BOUNDS_S: Final = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
"""Upper bounds of buckets in seconds, as both conventions advise them."""

OTHER: Final = "_OTHER"
"""The conventions' value for what a closed set of values does not have."""

HTTP_SERVER_REQUEST_DURATION: Final = Metric(
    "http.server.request.duration",
    "histogram",
    "s",
    "Duration of HTTP server requests.",
    CONVENTION_BOUNDS_S,
    labels=(
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "url.scheme",
        "error.type",
    ),
    exponential=True,
)
RPC_SERVER_CALL_DURATION: Final = Metric(
    "rpc.server.call.duration",
    "histogram",
    "s",
    "Measures the duration of an incoming Remote Procedure Call (RPC).",
    CONVENTION_BOUNDS_S,
    labels=("rpc.system.name", "rpc.method", "rpc.response.status_code", "error.type"),
    exponential=True,
)
