"""Tracing of one gateway process: switched on at its start, and only then are libraries read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from serving.config import Traces
from serving.config.traces import TraceSettings, trace_settings
from serving.dataplane.hooks.request_spans import RequestTraces
from serving.telemetry.counters import SeriesSet
from serving.telemetry.exporting import why_unmade
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.export_lines import variable_ignored
from serving.telemetry.logs.report import report
from serving.telemetry.metrics.process import TRACES_LIMITED
from serving.telemetry.sampling import Sampler

if TYPE_CHECKING:
    from serving.telemetry.export.spans import SpanExport


class GatewayTracing:
    """Whether and how a gateway traces requests.

    Args:
        traces: what the configuration says.
        environment: what it leaves to OpenTelemetry's variables.
    """

    def __init__(self, traces: Traces, environment: Mapping[str, str] | None = None) -> None:
        self._settings = trace_settings(traces, os.environ if environment is None else environment)
        self._export: SpanExport | None = None

    def start(self, series: SeriesSet) -> RequestTraces | None:
        """Return what traces requests; None: nothing does.

        Args:
            series: where it is counted what became of spans.
        """
        settings = self._settings
        if settings is None:
            return None
        for said in settings.ignored:
            variable_ignored(said)
        self._export = _open(settings, series)
        if self._export is None:
            return None
        limited = series.sum(TRACES_LIMITED)
        sampler = Sampler(
            settings.sampler,
            settings.ratio,
            most_per_s=settings.max_per_second,
            on_limited=lambda: limited.add(1),
        )
        return RequestTraces(sampler, self._export.add)

    async def stop(self) -> None:
        """Send what waits, for a short while."""
        export, self._export = self._export, None
        if export is not None:
            await asyncio.to_thread(export.stop)


def _open(settings: TraceSettings, series: SeriesSet) -> SpanExport | None:
    """Return what sends spans; None, with a line in the log, where there can be nothing."""
    from serving.telemetry.export.span_exporter import open_exporter
    from serving.telemetry.export.spans import SpanExport

    try:
        return SpanExport(open_exporter(settings.endpoint, settings.protocol), series)
    except Exception as error:  # noqa: BLE001 - a package, variable or file that cannot be read
        said = why_unmade(error, "nothing is traced", "the exporter of traces", "telemetry.traces")
        report(Event.TRACES_NOT_EXPORTED, said, error=error)
    return None
