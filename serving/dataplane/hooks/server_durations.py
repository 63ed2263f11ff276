"""How long requests took as their transports see them; one addition for each that is answered."""

from __future__ import annotations

from typing import Final

from serving.dataplane.context import GRPC
from serving.dataplane.hooks.server_span import GRPC_ERRORS, INFER
from serving.protocol.status import grpc_code_name
from serving.telemetry.counters import MOST_LATE, HistogramSeries, SeriesSet
from serving.telemetry.metrics.servers import (
    HTTP_SERVER_REQUEST_DURATION,
    OTHER,
    RPC_SERVER_CALL_DURATION,
)

_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)
_NEVER_SENT: Final = 499


class ServerDurations:
    """The series of one gateway, whatever ingress answers.

    Args:
        series: where they are kept.

    Attributes:
        inferred: inferences over HTTP that were answered with outputs, for who has one for every
            request and appends to `late` itself.
        called: the same of plain calls of `ModelInfer`.
    """

    def __init__(self, series: SeriesSet) -> None:
        self._series = series
        self._requests: dict[tuple[str, str, int, str], HistogramSeries] = {}
        self._calls: dict[tuple[str, int], HistogramSeries] = {}
        self.inferred = self._of_request("POST", INFER.route, 200, "http")
        self.called = self._of_call(f"/{INFER.methods[GRPC]}", 0)

    def request(
        self, method: str, route: str, status: int, seconds: float, scheme: str = "http"
    ) -> None:
        """Count an HTTP request that was answered.

        Args:
            method: as sent; those that HTTP does not define are one.
            route: the path with names in place of values; `OTHER` for paths and methods that lead
                nowhere.
            status: of the answer.
            seconds: from the request's arrival to its answer; 0 if it was never read.
            scheme: of its URL.
        """
        if status != _NEVER_SENT:
            method = method if method in _METHODS else OTHER
            _add(self._of_request(method, route, status, scheme), seconds)

    def call(self, path: str, code: int, seconds: float) -> None:
        """Count a gRPC call that was answered.

        Args:
            path: of the method; `OTHER` for one that nobody knows.
            code: number of its status.
            seconds: as for `request`; of a stream, until its end.
        """
        _add(self._of_call(path, code), seconds)

    def _of_request(self, method: str, route: str, status: int, scheme: str) -> HistogramSeries:
        key = (method, route, status, scheme)
        known = self._requests.get(key)
        if known is None:
            attributes = {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": str(status),
                "url.scheme": "https" if scheme == "https" else "http",
            }
            if status >= 500:
                attributes["error.type"] = str(status)
            known = self._series.histogram(HTTP_SERVER_REQUEST_DURATION, **attributes)
            self._requests[key] = known
        return known

    def _of_call(self, path: str, code: int) -> HistogramSeries:
        key = (path, code)
        known = self._calls.get(key)
        if known is None:
            name = grpc_code_name(code)
            attributes = {
                "rpc.system.name": "grpc",
                "rpc.method": path.removeprefix("/"),
                "rpc.response.status_code": name,
            }
            if name in GRPC_ERRORS:
                attributes["error.type"] = name
            known = self._series.histogram(RPC_SERVER_CALL_DURATION, **attributes)
            self._calls[key] = known
        return known


def _add(series: HistogramSeries, seconds: float) -> None:
    series.late.append(seconds)
    if len(series.late) >= MOST_LATE:
        series.count_late()
