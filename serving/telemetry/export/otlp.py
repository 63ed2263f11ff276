"""Pushing metrics to an OTLP/HTTP collector, in a thread of its own.

A collector that is dead, slow or silent costs a counted failure and nothing else: the loop only
replaces the one set of series that waits, and because series are cumulative, a set that was
replaced before it left is no loss.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExportResult

from serving.telemetry.bounded_http import bounded_session
from serving.telemetry.counters import SumSeries
from serving.telemetry.export.metrics_data import metrics_data
from serving.telemetry.exporting import FAILING_STOP_TIMEOUT_S, STOP_TIMEOUT_S
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.resource import instance_resource
from serving.telemetry.series import Series

EXPORT_TIMEOUT_S: Final = 3.0

_PATH: Final = "/v1/metrics"


class OtlpPusher:
    """Exports whatever was offered last.

    Args:
        endpoint: the collector's base URL, for example `http://127.0.0.1:4318`.
        started_ns: when counting began, Unix nanoseconds.
        failures: counts exports that failed; only this object writes to it.
        timeout_s: longest that one export may take, its retries included.
    """

    def __init__(
        self,
        endpoint: str,
        started_ns: int,
        failures: SumSeries,
        *,
        timeout_s: float = EXPORT_TIMEOUT_S,
    ) -> None:
        base = endpoint.rstrip("/")
        url = base if base.endswith(_PATH) else base + _PATH
        self._endpoint = url
        self._exporter = OTLPMetricExporter(
            endpoint=url, timeout=timeout_s, session=bounded_session("metrics")
        )
        self._resource = instance_resource()
        self._started_ns = started_ns
        self._failures = failures
        self._failing = False
        self._condition = threading.Condition()
        self._waiting: tuple[Sequence[Series], int] | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="otlp-push", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        # The exporter logs every failed try; here a change is logged once and the rest counted.
        logging.getLogger(OTLPMetricExporter.__module__).setLevel(logging.CRITICAL)
        self._thread.start()

    def offer(self, series: Sequence[Series]) -> None:
        """Leave series to be exported; never blocks. What still waited is replaced."""
        with self._condition:
            self._waiting = (series, time.time_ns())
            self._condition.notify()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Export what waits and end the thread, within `timeout_s`; then leave it behind."""
        if self._failing:
            timeout_s = min(timeout_s, FAILING_STOP_TIMEOUT_S)
        deadline = time.monotonic() + timeout_s
        with self._condition:
            self._stopping = True
            self._condition.notify()
        # Half of the time to finish on its own, then its retries are cut short.
        self._thread.join(timeout_s / 2)
        self._exporter.shutdown()
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting is not None or self._stopping)
                offered, self._waiting = self._waiting, None
            if offered is None:
                return
            self._export(*offered)

    def _export(self, series: Sequence[Series], now_ns: int) -> None:
        data = metrics_data(series, self._resource, self._started_ns, now_ns)
        failed = self._exporter.export(data) is not MetricExportResult.SUCCESS
        if failed:
            self._failures.add(1)
        if failed != self._failing:
            self._failing = failed
            how = "fail; they are counted and retried" if failed else "work again"
            report(Event.EXPORT_CHANGED, f"exports of metrics to {self._endpoint} {how}", state=how)
