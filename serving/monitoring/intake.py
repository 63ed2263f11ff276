"""How messages get into the monitor: written ahead, then dealt with, then acknowledged.

An acknowledged event survives the process, an acknowledged label the machine. While the disk
cannot be written to, events are dealt with all the same, and labels are refused.

Labels of predictions that the monitor has forgotten are taken in behind what the prediction log
has of these, which is written ahead like any message: a restart does not ask the log again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from monitors.performance.forgotten_keys import Key
from serving.channel import frames
from serving.channel.connection import Connection
from serving.channel.frame_parts import Message
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import (
    TAKEN,
    EventMeta,
    LabelsMeta,
    Position,
    RecalledMeta,
)
from serving.errors import ModelNotReady
from serving.monitoring.carried_totals import CarriedTotals
from serving.monitoring.fan_out import RECALLED, SERVED, FanOut, Served, read
from serving.monitoring.wal_segments import Record
from serving.monitoring.write_ahead_log import WriteAheadLog
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.events import MONITOR_UNSAVED
from serving.telemetry.series import Series

REPORTED: Final = "told"
"""Kind of a message that only the write-ahead log has: totals that the control plane was told, as
far as they have changed."""

Recall = Callable[[str, Sequence[Key]], Awaitable[RecalledMeta]]
"""Looks predictions of a model up; raises `ModelNotReady` where that cannot be done now."""

_decode_totals = msgspec.msgpack.Decoder(list[Series]).decode


class Intake:
    """Takes in what changes the monitor's state. Belongs to one loop.

    Args:
        log: where messages are written first.
        fan_out: who deals with them.
        clock: seconds since the epoch.
        series: where the metrics are kept.

    Attributes:
        totals: the judges' sums and histograms over all processes.
        recall: looks predictions up in the prediction log; None: there is none.
    """

    def __init__(
        self,
        log: WriteAheadLog,
        fan_out: FanOut,
        clock: Callable[[], float],
        series: SeriesSet,
    ) -> None:
        self._log, self._fan_out, self._clock = log, fan_out, clock
        self._served: tuple[ServedModel, ...] | None = None
        self._served_before = False
        """What is served was so before the restart; nobody has said yet what is so now."""
        self._to_tell: dict[Connection, Position] = {}
        self.totals = CarriedTotals()
        self.recall: Recall | None = None
        self._unsaved = series.gauge(MONITOR_UNSAVED)

    # -- what is told -------------------------------------------------------------------

    def notified(self, connection: Connection, message: Message) -> None:
        """Take in an `events` or `position` message, and soon say so to who has sent it."""
        told = read(message)
        assert isinstance(told, EventMeta | Position)
        if isinstance(told, EventMeta):
            position, rows = told.position, sum(told.rows)
        else:
            position, rows = told, 0
        now = self._clock()
        self._log.append(Record(now, message.frame), rows)
        self._fan_out.apply(told, message.tensors, now)
        if not self._to_tell:
            asyncio.get_running_loop().call_soon(self._tell)
        self._to_tell[connection] = position

    def _tell(self) -> None:
        """Tell each gateway what is here; once a turn, however many messages it brought."""
        to_tell, self._to_tell = self._to_tell, {}
        delivery = self._fan_out.service.delivery
        for connection, position in to_tell.items():
            connection.notify(TAKEN, delivery.taken(position))

    async def asked(self, message: Message) -> object:
        """Take in labels or an order; returns the answer once it is on disk.

        Raises:
            ModelNotReady: it cannot be written to disk, or the prediction log cannot be read.
            VigilError: it is refused for another reason, and nothing has changed.
        """
        told = read(message)
        if isinstance(told, LabelsMeta):
            await self._recalled(told)
        now = self._clock()
        if not self._log.append(Record(now, message.frame)):
            raise self._cannot_keep()
        answer = self._fan_out.apply(told, (), now)
        try:
            await self._log.sync()
        except OSError:
            raise self._cannot_keep() from None
        return answer

    async def _recalled(self, labels: LabelsMeta) -> None:
        """Have predictions stored again that labels are about."""
        missing = self._fan_out.service.missing(labels) if self.recall else []
        if not missing or self.recall is None:
            return
        try:
            found = await self.recall(labels.model, missing)
        except ModelNotReady:
            # Labels of what was seen would be late for good; others wait for their predictions.
            if self._fan_out.service.watches.forgotten(labels.model, missing):
                raise
            return
        if found.rows:
            now = self._clock()
            if not self._log.append(Record(now, _frame_of(RECALLED, found))):
                raise self._cannot_keep()
            self._fan_out.apply(found, (), now)

    def _cannot_keep(self) -> ModelNotReady:
        why = self._log.failure
        return ModelNotReady(f"the monitor cannot write to its disk: {why}", retry_after_s=2)

    def serve(self, models: Sequence[ServedModel]) -> None:
        """Watch these model versions and no others from now on."""
        wanted = tuple(models)
        first, self._served_before = self._served_before, False
        if wanted == self._served:
            return
        if first:  # it changed while nobody watched
            self._fan_out.service.put_back()
        now = self._clock()
        self._log.begin_anew_with(Record(now, _frame_of(SERVED, Served(wanted))))
        self._served = wanted
        self._fan_out.apply(Served(wanted), (), now)

    # -- what is told again -------------------------------------------------------------

    def again(self, record: Record) -> int:
        """Take in what a process before this one had written; returns its rows of predictions.

        Raises:
            FrameError, msgspec.DecodeError: it is no message.
            VigilError: it was refused then too.
        """
        message = frames.decode(memoryview(record.frame))
        if message.kind == REPORTED:
            self.totals.told(_decode_totals(message.meta))
            return 0
        told = read(message)
        if isinstance(told, Served):
            self._log.begin_with(record)
            self._served, self._served_before = told.models, True
        self._fan_out.apply(told, message.tensors, record.now, replayed=True)
        return sum(told.rows) if isinstance(told, EventMeta) else 0

    # -- what the control plane is told -------------------------------------------------

    def report(self, *, introduces: bool = False) -> tuple[Series, ...]:
        """Return the judges' series, which are told now, as this process has to tell them.

        Args:
            introduces: whether the control plane hears of this process for the first time. Then
                nothing more is told than before: the control plane must know from where on this
                process counts, or it could not tell what a process that died has told it.
        """
        series = self._fan_out.service.snapshot()
        if introduces:
            return self.totals.told_already(series)
        if told := self.totals.tell(series):
            self._log.append(Record(self._clock(), _frame_of(REPORTED, told)))
        return self.totals.to_tell(series)

    # -- what cannot be kept ------------------------------------------------------------

    def update(self) -> None:
        """Set the metric."""
        self._unsaved.set(self._log.missing)

    def notice(self) -> str:
        """Return what a restart would forget, in a sentence; empty: nothing."""
        missing = self._log.missing
        if not missing:
            return ""
        why = self._log.failure or "they could not be written"
        return f"a restart of the monitor would forget {missing} rows: {why}"


def _frame_of(kind: str, meta: object) -> bytes:
    return b"".join(frames.encode(kind, 0, meta))[4:]
