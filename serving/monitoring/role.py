"""The monitor role: takes in what gateways publish, and keeps the windowed judges of every model.

`python -m serving.monitoring.role --registry ADDRESS --address ADDRESS --data-dir FOLDER`. It
never touches a request; when it is gone, gateways go on and count what it missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from serving.channel.connection import Connection
from serving.channel.endpoint import ChannelServer
from serving.channel.frame_parts import Message
from serving.channel.messages import observation
from serving.channel.messages.causes import CAUSE, CauseMeta
from serving.channel.messages.directory import Directory, Member
from serving.channel.messages.findings import FINDINGS_CHANGED, FindingsChanged
from serving.channel.messages.reports import Report
from serving.channel.messages.watched import MONITORS, MonitorsMeta
from serving.channel.monitor_shares import share_of
from serving.channel.registry_client import RegistryClient
from serving.config import Log
from serving.config.cloudevents import CLOUDEVENTS_VARIABLE, CloudEvents
from serving.config.log import LOG_VARIABLE
from serving.errors import ModelFailed, Unsupported, VigilError, unknown_model
from serving.log.place import place_of
from serving.models.repository.folder import ModelEntry
from serving.monitoring.causes.runner import CauseRunner
from serving.monitoring.fan_out import Consumer, FanOut
from serving.monitoring.findings_feed import FindingsFeed
from serving.monitoring.forget_orders import ForgetOrders
from serving.monitoring.model_monitors import ModelMonitors
from serving.monitoring.persistence import Persistence
from serving.monitoring.prediction_log import PredictionLog
from serving.monitoring.predictions import QUESTIONS, LoggedPredictions
from serving.monitoring.recorded_clock import RecordedClock
from serving.monitoring.reports.kept import KeptReports
from serving.monitoring.reports.runner import ReportRunner
from serving.monitoring.reports.schedule import ReportSchedule
from serving.monitoring.service import MonitoringService
from serving.monitoring.shared_pairs import SharedPairs
from serving.monitoring.sinks.cloudevents import sink_of
from serving.telemetry.counters import SeriesSet
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.logs.setup import configure
from serving.telemetry.process import ProcessSeries
from serving.telemetry.process_title import set_title
from serving.upkeep.collector import Collector

CHECKPOINT_S: Final = 2.0
TELL_S: Final = 1.0
"""How soon the control plane hears of a finding; what changes within that time travels together."""
DIRECTORY_WAIT_S: Final = 5.0
CLOSE_S: Final = 2.0
"""What the prediction log's store may take at the end; what it does not take stays on the disk."""
SECRET: Final = "VIGIL_CHANNEL_SECRET"  # noqa: S105 - the variable's name

_ORDERS: Final = (observation.LABELS, observation.LABELS_WANTED, observation.RESET_REFERENCE)
"""Kinds of messages that change what is judged, and are answered once they are on disk."""

_decode_findings = msgspec.msgpack.Decoder(observation.FindingsMeta).decode
_decode_monitors = msgspec.msgpack.Decoder(MonitorsMeta).decode
_decode_reports = msgspec.msgpack.Decoder(observation.ReportsMeta).decode
_decode_report = msgspec.msgpack.Decoder(observation.ReportMeta).decode
_decode_forget = msgspec.msgpack.Decoder(observation.ForgetMeta).decode
_decode_cause = msgspec.msgpack.Decoder(CauseMeta).decode
_decode_half = msgspec.msgpack.Decoder(observation.HalfMeta).decode


class MonitorRole:
    """One monitor, which judges and logs its share of the models.

    Args:
        registry_address: where the control plane listens.
        address: where to listen, `unix:...` or `tcp:host:port`.
        data_dir: where the state is kept that a restart goes on from.
        member_id: unique name of this monitor, one of `monitor_ids`; its files of state bear it.
        secret: the cluster's secret for TCP channels.
        consumers: who is told of every prediction beside the judges.
        log: how predictions are logged; None: not at all.
        cloudevents: who is told of predictions; None: nobody.
        checkpoint_s: seconds between two checkpoints.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        registry_address: str,
        address: str,
        data_dir: Path,
        member_id: str = "monitor",
        secret: bytes | None = None,
        *,
        consumers: Sequence[Consumer] = (),
        log: Log | None = None,
        cloudevents: CloudEvents | None = None,
        checkpoint_s: float = CHECKPOINT_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry_address = registry_address
        self._address = address
        self._id = member_id
        self._secret = secret
        self._checkpoint_s = checkpoint_s
        self._log = None if log is None else PredictionLog(log, data_dir, clock)
        recorded = RecordedClock(clock)
        self.service = MonitoringService(recorded)
        self._series = SeriesSet()
        self._pairs = SharedPairs()
        self._sink = sink_of(cloudevents)
        own = [each for each in (self._log, self._sink) if each is not None]
        fan_out = FanOut(self.service, recorded, (*own, *consumers), self._log)
        self._persistence = Persistence(data_dir, member_id, fan_out, clock, self._series)
        self._intake = self._persistence.intake
        place = None if log is None else place_of(log, data_dir)
        self._reports = ReportRunner(place)
        kept = KeptReports(data_dir / "reports")
        self._schedule = ReportSchedule(self._reports, kept, self._newest_of_each, clock)
        self._causes = CauseRunner(place)
        self._predictions = LoggedPredictions(place)
        if log is not None:
            self._intake.recall = self._predictions.recall
        self._forget = ForgetOrders(
            member_id, data_dir, self._log, self._persistence, self._predictions
        )
        self._server = ChannelServer(self._message, secret=secret)
        self._registry: RegistryClient | None = None
        self._feed = FindingsFeed()
        self._process = ProcessSeries(self._series, "monitor", member_id)
        self._told = asyncio.Event()
        self._introduced = False
        """Whether this control plane knows what processes before this one have told."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Restore the last checkpoint, register, listen; returns the address."""
        if self._log is not None:
            self._log.start()
        self._persistence.restore()
        address = self._address
        if address.endswith(":0"):
            address = await self._server.start(address)
        member = Member(role="monitor", id=self._id, pid=os.getpid(), address=address)
        self._registry = RegistryClient(
            self._registry_address,
            self._secret,
            member,
            self._report,
            on_up=self._up,
            on_directory=self._directory,
        )
        self._registry.start()
        if not self._server.address:
            # Gateways reconnect as soon as somebody listens; what they send before the models
            # are known could not be judged.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DIRECTORY_WAIT_S):
                    await self._told.wait()
            await self._server.start(address)
        self._keep(self._persistence.save_regularly(self._checkpoint_s))
        self._keep(self._tell_findings(self._registry))
        self._keep(self._schedule.run())
        return address

    async def stop(self) -> None:
        """Save everything and leave."""
        await self._forget.stop()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2.0)
        self._server.close()
        if self._registry:
            self._registry.report_now()  # or a successor would tell it
        if self._sink is not None:
            closing = asyncio.create_task(asyncio.to_thread(self._sink.close))
        await self._save()
        self._persistence.close()
        if self._log is not None:
            await asyncio.to_thread(self._log.close, CLOSE_S)
        self._predictions.close()
        if self._sink is not None:
            await closing
        if self._registry:
            await self._registry.stop()

    async def _save(self) -> None:
        await self._persistence.save()

    # -- the control plane --------------------------------------------------------------

    def _directory(self, directory: Directory) -> None:
        self._intake.serve(share_of(self._id, directory.models, directory.monitors))
        self._predictions.serve(directory.models)
        self._forget.serve(directory.monitors)
        self._told.set()

    def _up(self) -> None:
        assert self._registry is not None
        self._feed.forget()
        self._introduced = False
        self._registry.report_now()

    def _report(self) -> Report:
        self._process.update()
        self._intake.update()
        introduces, self._introduced = not self._introduced, True
        series = (*self._intake.report(introduces=introduces), *self._series.snapshot())
        series += self._pairs.snapshot()
        if self._sink is not None:
            series += self._sink.snapshot()
        status = self.service.status()
        if self._log is not None:
            series += self._log.snapshot()
            status = msgspec.structs.replace(status, log=self._log.notes())
        before = self._intake.totals.told_before if introduces else None
        return Report(True, series, status, before)

    async def _tell_findings(self, registry: RegistryClient) -> None:
        """Tell all findings when one has changed; not before it is known what is served."""
        await self._told.wait()
        while True:
            try:
                if registry.connected and (changed := self._changed_findings()):
                    registry.notify(FINDINGS_CHANGED, changed)
            except Exception as error:  # noqa: BLE001 - a fault in one must not end all later ones
                report(
                    Event.MONITOR_FAILED,
                    "the control plane could not be told of findings",
                    error=error,
                )
            await asyncio.sleep(TELL_S)

    def _changed_findings(self) -> FindingsChanged | None:
        service = self.service
        return self._feed.changed(service.all_findings(), service.passed(), service.unjudged())

    # -- messages -----------------------------------------------------------------------

    def _message(self, connection: Connection, message: Message) -> None:
        if message.kind in (observation.EVENTS, observation.POSITION):
            self._intake.notified(connection, message)
        elif message.id:
            self._keep(self._answer(connection, message))

    def _keep(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, connection: Connection, message: Message) -> None:
        try:
            if message.kind in QUESTIONS:
                connection.reply(message.id, *await self._predictions.reply(message))
            else:
                connection.reply(message.id, await self._reply(message))
        except VigilError as error:
            connection.fail(message.id, error)
        except Exception as error:  # noqa: BLE001 - the peer must get an answer whatever it was
            said = f"the monitor failed to answer '{message.kind[:40]}'"
            report(Event.MONITOR_FAILED, said, error=error)
            failed = ModelFailed(f"the monitor failed to answer '{message.kind}'")
            connection.fail(message.id, failed)

    async def _reply(self, message: Message) -> object:
        if message.kind in _ORDERS:
            return await self._intake.asked(message)
        if message.kind == observation.FINDINGS:
            asked = _decode_findings(message.meta)
            return msgspec.json.encode(self.service.findings(asked.model, asked.version))
        if message.kind == MONITORS:
            wanted = _decode_monitors(message.meta)
            return msgspec.json.encode(self.service.watched(wanted.model, wanted.version))
        if message.kind == observation.REPORT:
            return await self._make_report(_decode_report(message.meta))
        if message.kind == observation.REPORTS:
            model = _decode_reports(message.meta).model
            return msgspec.json.encode(self._schedule.told(self._newest(model).entry))
        if message.kind == CAUSE:
            asked_cause = _decode_cause(message.meta)
            return await self._causes.find(asked_cause, self._entries(asked_cause.model))
        if message.kind == observation.FORGET:
            return self._forget.asked(_decode_forget(message.meta))
        if message.kind == observation.HALF:
            return self._pairs.half(_decode_half(message.meta))
        raise Unsupported(f"a monitor does not answer '{message.kind[:40]}'")

    def _entries(self, model: str) -> list[ModelEntry]:
        """Return the versions of a model that are judged here, the newest last."""
        return [watch.entry for watch in reversed(self.service.watches.newest_first(model))]

    def _newest(self, model: str) -> ModelMonitors:
        found = self.service.watches.newest_first(model)
        if not found:
            raise unknown_model(model[:200])
        return found[0]

    def _newest_of_each(self) -> Iterator[ModelMonitors]:
        for model in {each.entry.name for each in self.service.watches}:
            yield self._newest(model)

    async def _make_report(self, asked: observation.ReportMeta) -> observation.ReportReply:
        if asked.kept:
            return self._schedule.read(asked.model, asked.kind, asked.kept)
        watches = self.service.watches
        if asked.only:
            watch = watches.watch(asked.model, asked.only)
        else:
            watch = watches.latest(asked.model, asked.version)
        return await self._reports.report(watch.entry, asked, watch.recent)


def step_aside() -> None:
    """Have the kernel wake this process without taking the processor from who answers requests.

    Its share of a busy machine stays the same, so it keeps up with gateways as before.
    """
    with contextlib.suppress(OSError):  # a sandbox that does not allow it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def main(arguments: list[str] | None = None) -> int:
    """Be a monitor process until SIGTERM; returns the exit code."""
    import uvloop

    set_title("monitor")
    parser = argparse.ArgumentParser(prog="serving.monitoring.role")
    parser.add_argument("--registry", required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--data-dir", required=True, type=Path)
    parser.add_argument("--id", default="monitor")
    options = parser.parse_args(arguments)
    configure("monitor")
    step_aside()
    secret = bytes.fromhex(os.environ.get(SECRET, "")) or None
    told = os.environ.get(LOG_VARIABLE)
    log = Log.model_validate_json(told) if told else None
    told = os.environ.get(CLOUDEVENTS_VARIABLE)
    cloudevents = CloudEvents.model_validate_json(told) if told else None

    async def serve() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        role = MonitorRole(
            options.registry, options.address, options.data_dir, options.id, secret,
            log=log, cloudevents=cloudevents,
        )  # fmt: skip
        await role.start()
        Collector().start()
        await stop.wait()
        await role.stop()

    uvloop.run(serve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
