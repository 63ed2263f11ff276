"""What becomes of the totals while the instance runs: samples, costs, and pushes by OTLP."""

from __future__ import annotations

import asyncio
import platform
from typing import TYPE_CHECKING

from serving.config import ServerConfig
from serving.control.cost.costs import Costs
from serving.control.history import SAMPLE_S, History
from serving.control.registry import Registry
from serving.telemetry.exporting import why_unmade
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.metrics.process import BUILD_INFO, TELEMETRY_EXPORT_FAILURES
from serving.telemetry.resource import own_version

if TYPE_CHECKING:
    from serving.telemetry.export.otlp import OtlpPusher


class Exports:
    """Samples the totals of `registry` and pushes them to a collector if there is one.

    Args:
        registry: the instance.
        config: names the collector.
        history: gets the samples.
        costs: counts what models cost.
        engine, ingress: what runs, for the metrics; none: what the configuration says.
    """

    def __init__(
        self,
        registry: Registry,
        config: ServerConfig,
        history: History,
        costs: Costs,
        engine: str = "",
        ingress: str = "",
    ) -> None:
        self._registry = registry
        self._config = config
        self._history = history
        self._costs = costs
        self._tasks: list[asyncio.Task[None]] = []
        self._pusher: OtlpPusher | None = None
        info = registry.series.gauge(
            BUILD_INFO,
            version=own_version(),
            python=platform.python_version(),
            engine=engine or config.engine,
            ingress=ingress or config.ingress,
        )
        info.set(1)

    def start(self) -> None:
        """Begin; needs a running loop."""
        create = asyncio.get_running_loop().create_task
        self._tasks = [create(self._sample())]
        self._costs.start()
        endpoint = self._config.telemetry.otlp_endpoint
        if endpoint:
            self._pusher = self._open(endpoint)
        if self._pusher:
            self._pusher.start()
            self._tasks.append(create(self._push(self._pusher)))

    def _open(self, endpoint: str) -> OtlpPusher | None:
        """Return what pushes; None, with a line in the log, where there can be nothing."""
        failures = self._registry.series.sum(TELEMETRY_EXPORT_FAILURES)
        # Here, because the SDK takes long to import, and most instances have no collector.
        from serving.telemetry.export.otlp import OtlpPusher

        try:
            return OtlpPusher(endpoint, self._registry.started_ns, failures)
        except Exception as error:  # noqa: BLE001 - a variable or a file that cannot be read
            said = why_unmade(error, "no metrics are pushed", "their exporter", "telemetry")
            report(Event.METRICS_NOT_EXPORTED, said, error=error)
        return None

    async def stop(self) -> None:
        """Export once more; bounded to a few seconds."""
        for task in self._tasks:
            task.cancel()
        await self._costs.stop()
        if self._pusher:
            self._pusher.offer(self._registry.aggregate())
            await asyncio.to_thread(self._pusher.stop)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _sample(self) -> None:
        while True:
            self._history.sample(self._registry.aggregate())
            await asyncio.sleep(SAMPLE_S)

    async def _push(self, pusher: OtlpPusher) -> None:
        while True:
            await asyncio.sleep(self._config.telemetry.interval_s)
            pusher.offer(self._registry.aggregate())
