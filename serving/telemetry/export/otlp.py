"""Pushing metrics to an OTLP/HTTP collector, in a thread of its own.

A collector that is dead, slow or silent costs a counted failure and nothing else: the loop only
replaces the one set of series that waits, and because series are cumulative, a set that was
replaced before it left is no loss.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExportResult

from serving.telemetry.collector import Protocol, for_exporter, without_credentials
from serving.telemetry.counters import SumSeries
from serving.telemetry.export.metrics_data import metrics_data
from serving.telemetry.exporter_settings import exporter_arguments
from serving.telemetry.exporting import STOP_TIMEOUT_S, ExporterEnd, stop_within
from serving.telemetry.logs.export_lines import export_changed, variable_ignored
from serving.telemetry.resource import instance_resource
from serving.telemetry.series import Series

EXPORT_TIMEOUT_S: Final = 3.0
_HTTP: Final[Protocol] = "http/protobuf"


class OtlpPusher:
    """Exports whatever was offered last.

    Args:
        endpoint: the collector's base URL, for example `http://127.0.0.1:4318`.
        started_ns: when counting began, Unix nanoseconds.
        failures: counts exports that failed; only this object writes to it.
        timeout_s: longest that one export may take, its retries included.

    Raises:
        ValueError: a variable of the environment names a file that cannot be read.
    """

    def __init__(
        self,
        endpoint: str,
        started_ns: int,
        failures: SumSeries,
        *,
        timeout_s: float = EXPORT_TIMEOUT_S,
    ) -> None:
        url = for_exporter(endpoint, _HTTP, "metrics")
        self._collector = without_credentials(url)
        given = exporter_arguments("metrics", url, _HTTP, variable_ignored)
        self._exporter = OTLPMetricExporter(**{**given, "timeout": timeout_s})
        self._end = ExporterEnd(self._exporter)
        self._tell = export_changed("exports of metrics")
        self._resource = instance_resource()
        self._started_ns = started_ns
        self._failures = failures
        self._condition = threading.Condition()
        self._waiting: tuple[Sequence[Series], int] | None = None
        self._stopping = self._unsent = False
        self._thread = threading.Thread(target=self._run, name="otlp-push", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, series: Sequence[Series]) -> None:
        """Leave series to be exported; never blocks. What still waited is replaced."""
        with self._condition:
            self._waiting = (series, time.time_ns())
            self._unsent = True
            self._condition.notify()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Export what waits and end the thread, within `timeout_s`; then leave it behind."""
        stop_within(timeout_s, self._finish, self._end)
        if self._unsent:
            said = f"the last metrics could not be sent to {self._collector} before the end"
            self._tell(said, "ended")

    def _finish(self) -> None:
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join()
        self._end.cut_short()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting is not None or self._stopping)
                offered, self._waiting = self._waiting, None
            if offered is None:
                return
            taken = self._export(*offered)
            with self._condition:
                self._unsent = not taken or self._waiting is not None

    def _export(self, series: Sequence[Series], now_ns: int) -> bool:
        try:
            data = metrics_data(series, self._resource, self._started_ns, now_ns)
            taken = self._exporter.export(data) is MetricExportResult.SUCCESS
        except Exception:  # noqa: BLE001 - the next set may be well, whatever it was
            taken = False
        if not taken:
            self._failures.add(1)
        if self._end.changed(failed=not taken):
            how = "work again" if taken else "fail; they are counted and retried"
            self._tell(f"exports of metrics to {self._collector} {how}", how)
        return taken
