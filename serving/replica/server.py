"""The replica role: one model version behind a channel server.

What answers batches is a `BatchHandler`. What must not fall silent while one is computed, the
report to the control plane, has a thread of its own.
"""

from __future__ import annotations

import os
import time

import msgspec

from serving.channel import frames
from serving.channel.busy_poll import BusyPoll
from serving.channel.endpoint import ChannelServer
from serving.channel.messages.directory import Member, ServedModel
from serving.channel.messages.reports import ReplicaStatus, Report
from serving.models.repository.folder import ModelEntry
from serving.replica.batch_handler import BatchHandler
from serving.roles.reporter import ReporterThread
from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.metrics.cost import REPLICA
from serving.telemetry.metrics.models import MODEL_LAST_LOAD_DURATION, MODEL_LAST_LOAD_TIMESTAMP
from serving.telemetry.process import ProcessSeries
from serving.telemetry.processor_time import ModelProcessorTime


class ReplicaServer:
    """One replica: listens, registers, reports, and has its handler answer batches.

    Args:
        served: the model version to serve.
        entry: the same, with its configuration.
        batches: what answers batches.
        series: what is counted here.
        member_id: unique name of this replica.
        address: where to listen, `unix:...` or `tcp:host:port`.
        registry_address: where the control plane listens.
        secret: the cluster's secret for TCP channels.
    """

    def __init__(
        self,
        served: ServedModel,
        entry: ModelEntry,
        batches: BatchHandler,
        series: SeriesSet,
        member_id: str,
        address: str,
        registry_address: str,
        secret: bytes | None = None,
    ) -> None:
        self._served = served
        self._entry = entry
        self._batches = batches
        self._id = member_id
        self._address = address
        self._registry_address = registry_address
        self._secret = secret
        self._server: ChannelServer | None = None
        self._reporter: ReporterThread | None = None
        self._series = series
        self._process = ProcessSeries(series, "replica", member_id, served.name, served.version)
        self._spent = ModelProcessorTime(series, REPLICA, served.name, served.version)

    def load(self) -> None:
        """Get ready to answer batches; blocks.

        Raises:
            ConfigError: files are missing, damaged or do not fit the configuration.
        """
        began = time.monotonic()
        self._batches.load()
        base = {"model": self._entry.name, "version": self._entry.version}
        self._series.gauge(MODEL_LAST_LOAD_TIMESTAMP, **base).set(time.time())
        took = self._series.gauge(MODEL_LAST_LOAD_DURATION, **base)
        took.set(time.monotonic() - began)

    async def start(self) -> str:
        """Listen and register; returns the address. `load` must have run."""
        batches = self._batches
        batches.start(BusyPoll(self._entry.config.batching.busy_poll_us / 1e6))
        self._server = ChannelServer(batches.message, slots=batches.slots, secret=self._secret)
        address = await self._server.start(self._address)
        member = Member(
            role="replica",
            id=self._id,
            pid=os.getpid(),
            address=address,
            model=self._entry.name,
            version=self._entry.version,
            slots=batches.slots,
            capabilities=tuple(
                name for name, has in msgspec.structs.asdict(batches.capabilities).items() if has
            ),
            revision=self._served.revision,
        )
        self._reporter = ReporterThread(self._registry_address, self._secret, member, self._report)
        self._reporter.start()
        report(
            Event.MODEL_LOADED,
            "a replica is ready for its first batch",
            model=self._entry.name,
            version=self._entry.version,
            process=self._id,
        )
        return address

    async def stop(self) -> None:
        """Leave the directory, finish what is here, close."""
        if self._reporter:
            self._reporter.stop()
        if self._server:
            self._server.goaway()
            await self._batches.drained()
            self._server.close()
        await self._batches.close()

    async def infer_frame(self, frame: bytes) -> bytes:
        """Answer one encoded `infer` frame with an encoded reply; for the handle transport.

        Raises:
            VigilError: the batch as a whole is refused.
        """
        meta, tensors = await self._batches.infer(frames.decode(memoryview(frame)[4:]))
        return b"".join(frames.encode("reply", 1, meta, tensors))

    @property
    def busy_s(self) -> float:
        """Seconds for which it has computed one batch without any progress; 0 when idle.

        Other threads may ask.
        """
        since = self._batches.busy_since
        return time.monotonic() - since if since else 0.0

    def _report(self) -> Report:
        self._process.update()
        self._spent.update()
        status = ReplicaStatus(self.busy_s)
        return Report(True, self._series.snapshot(), status)
