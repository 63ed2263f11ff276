"""The gateway's end of observation: publishes predictions to the monitor, never waits for it.

What cannot be kept until the monitor has it is dropped and counted, so that `published = sent +
dropped + waiting` holds at any moment here, and `sent = received + lost` at the monitor.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from serving.channel.connection import ChannelClosed, Connection
from serving.channel.frame_parts import Message
from serving.channel.messages import observation
from serving.channel.messages.directory import Directory
from serving.channel.messages.observation import EventMeta, Taken
from serving.channel.peer import Peer
from serving.dataplane.hooks.delivery import Delivery, size_of
from serving.dataplane.hooks.event_batches import EventBatch, EventKey
from serving.dataplane.hooks.pending_events import PendingEvents
from serving.errors import ModelNotReady
from serving.protocol.datatypes import NUMPY_OF
from serving.protocol.messages import Tensor
from serving.telemetry.counters import SeriesSet, SumSeries
from serving.telemetry.metrics.events import EVENTS_DROPPED, EVENTS_SENT

# BF16 travels as its bits, in UINT16; the monitor knows the model and widens them.
_DATATYPE_OF: Final = {dtype: name for name, dtype in NUMPY_OF.items() if name != "BF16"}

_decode_taken: Final = msgspec.msgpack.Decoder(Taken).decode

BEGIN_S: Final = 5.0
"""A monitor says within it what it has of this gateway, or is as good as none."""
NO_MONITOR: Final = "no_monitor"
BACKLOG: Final = "backlog"


class Limits(msgspec.Struct, frozen=True):
    """When events leave, and when they are dropped.

    Attributes:
        rows, bytes: a message leaves when it holds so much.
        delay_s: no row waits longer for company than this. A message costs as much as hundreds of
            rows, at both ends, and findings are about windows: nobody waits for a single row.
        unsent_bytes: while the connection holds more than this, messages wait here.
        kept_bytes: messages that the monitor has not made safe yet; more is dropped. A
            monitor that is restarted is away for a second or two.
    """

    rows: int = 2048
    bytes: int = 1 << 20
    delay_s: float = 0.25
    unsent_bytes: int = 8 << 20
    kept_bytes: int = 64 << 20


class Totals(msgspec.Struct):
    """Messages, requests and rows since the start."""

    events: int = 0
    requests: int = 0
    rows: int = 0

    def add(self, requests: int, rows: int) -> None:
        """Count one message."""
        self.events += 1
        self.requests += requests
        self.rows += rows


class EventPublisher:
    """Coalesces prediction events per model version and sends them to the monitor.

    All methods belong to the loop's thread.

    Args:
        gateway: id of this gateway.
        series: where `vigil.events.sent` and `vigil.events.dropped` (rows) are kept.
        secret: the cluster's secret for TCP channels; None on one host.
        limits: when events leave, and when they are dropped.
        incarnation: tells this process from an earlier one with the same id.
    """

    def __init__(
        self,
        gateway: str,
        series: SeriesSet,
        secret: bytes | None = None,
        *,
        limits: Limits | None = None,
        incarnation: int | None = None,
    ) -> None:
        self._gateway = gateway
        self._series = series
        limits = limits or Limits()
        self._limits = limits
        self._max_rows, self._max_bytes = limits.rows, limits.bytes
        self._open: dict[EventKey, PendingEvents] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._delivery = Delivery(
            gateway,
            time.time_ns() if incarnation is None else incarnation,
            most_bytes=limits.kept_bytes,
            unsent_bytes=limits.unsent_bytes,
            on_sent=self._sent,
        )
        self._monitor = Peer(
            "the monitor",
            secret,
            on_up=self._up,
            on_down=self._delivery.down,
            on_message=self._message,
        )
        self._recorders: dict[tuple[str, str, str], SumSeries] = {}
        self.published = Totals()
        self.sent = Totals()
        self.dropped: dict[str, Totals] = {NO_MONITOR: Totals(), BACKLOG: Totals()}

    # -- where the monitor is -----------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether a monitor is there to take events."""
        return self._monitor.connection is not None

    def on_directory(self, directory: Directory) -> None:
        """Learn where the monitor is; connects and reconnects by itself from then on."""
        monitors = directory.of_role("monitor")
        # A control plane that has just restarted knows nobody yet; the monitor may well be there.
        if monitors and monitors[0].address:
            self._monitor.reach(monitors[0].address)

    def _up(self, connection: Connection) -> None:
        self._delivery.up(connection)
        self.flush()

    def _message(self, connection: Connection, message: Message) -> None:
        if message.kind == observation.TAKEN:
            self._delivery.taken(connection, _decode_taken(message.meta))

    def close(self) -> None:
        """Send what waits, drop it where no monitor is, and close the connection."""
        self.flush()
        reason = self._reason()
        for meta in self._delivery.give_up():
            self._drop(meta.model, meta.version, reason, len(meta.ids), sum(meta.rows))
        self._monitor.close()

    # -- events -------------------------------------------------------------------------

    def publish(self, key: EventKey, batch: EventBatch) -> None:
        """Take in one batch; never waits and never raises.

        Its arrays are kept for up to `delay_s`, not copied.
        """
        pending = self._open.get(key)
        if pending is None:
            pending = self._open[key] = PendingEvents()
        if pending.add(batch):
            if (
                pending.rows >= self._max_rows
                or pending.bytes >= self._max_bytes
                or pending.requests >= self._max_rows
            ):
                self._flush(key, pending)
            elif self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(
                    self._limits.delay_s, self.flush
                )

    def flush(self) -> None:
        """Send everything that waits."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        for key, pending in list(self._open.items()):
            if pending.requests:
                self._flush(key, pending)
            else:  # another server may make up as many versions as it likes
                del self._open[key]
        self._delivery.send()

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for company, or for the monitor to take them."""
        return sum(pending.rows for pending in self._open.values()) + self._delivery.unsent_rows

    @property
    def kept_bytes(self) -> int:
        """Bytes of messages that the monitor has not made safe yet, about."""
        return self._delivery.bytes

    def _flush(self, key: EventKey, pending: PendingEvents) -> None:
        delivery = self._delivery
        for part in pending.take():
            requests, rows = len(part.ids), part.total
            self.published.add(requests, rows)
            tensors = [
                *_tensors(observation.INPUT_PREFIX, part.inputs),
                *_tensors(observation.OUTPUT_PREFIX, part.outputs),
            ]
            size = size_of(part.ids, tensors)
            if not delivery.room(size):
                self._drop(key.model, key.version, self._reason(), requests, rows)
                continue
            meta = EventMeta(
                delivery.next, key.model, key.version, part.timestamp, part.ids, part.rows,
                part.sensitive, key.upstream, key.revision, key.kind, part.batches, part.requests,
            )  # fmt: skip
            delivery.add(meta, tensors, size)

    def _reason(self) -> str:
        return BACKLOG if self.connected else NO_MONITOR

    def _sent(self, meta: EventMeta) -> None:
        rows = sum(meta.rows)
        self.sent.add(len(meta.ids), rows)
        self._recorder(meta.model, meta.version, "").add(rows)

    def _drop(self, model: str, version: str, reason: str, requests: int, rows: int) -> None:
        self.dropped[reason].add(requests, rows)
        self._recorder(model, version, reason).add(rows)

    def _recorder(self, model: str, version: str, reason: str) -> SumSeries:
        recorder = self._recorders.get((model, version, reason))
        if recorder is None:
            base = {"model": model, "version": version}
            recorder = self._recorders[model, version, reason] = (
                self._series.sum(EVENTS_DROPPED, reason=reason, **base)
                if reason
                else self._series.sum(EVENTS_SENT, **base)
            )
        return recorder

    # -- questions ----------------------------------------------------------------------

    async def request(
        self, kind: str, meta: object, tensors: Sequence[Tensor] = (), *, flush: bool = True
    ) -> Message:
        """Ask the monitor (labels, findings, report); what was published before is seen by it.

        Args:
            kind, meta, tensors: the message.
            flush: whether what was published before must be; many small messages cost much.

        Raises:
            ModelNotReady: no monitor is there, it has not begun to take events, or it went away
                before it answered.
            VigilError: what the monitor answered.
        """
        if flush:
            self.flush()
        if (connection := self._monitor.connection) is not None:
            with contextlib.suppress(ChannelClosed, TimeoutError):
                async with asyncio.timeout(BEGIN_S):
                    await self._delivery.begun(connection)
                return await connection.request(kind, meta, tensors)
        raise ModelNotReady("the monitor is not there; retry later", retry_after_s=1)


def _tensors(prefix: str, arrays: Mapping[str, np.ndarray]) -> list[Tensor]:
    return [
        Tensor(prefix + name, _DATATYPE_OF[array.dtype], array.shape, array)
        for name, array in arrays.items()
    ]
