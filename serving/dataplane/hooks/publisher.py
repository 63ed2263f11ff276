"""The gateway's end of observation: publishes predictions to the monitors, never waits for them.

What cannot be kept until a monitor has it is dropped and counted, so that `published = sent +
dropped + waiting` holds at any moment here, and `sent = received + lost` over all monitors.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from serving.channel.frame_parts import Message
from serving.channel.messages import observation
from serving.channel.messages.directory import Directory
from serving.channel.messages.observation import EventMeta
from serving.channel.monitor_shares import monitor_ids, monitor_of, monitor_of_model
from serving.dataplane.hooks.delivery import Delivery, size_of
from serving.dataplane.hooks.event_batches import EventBatch, EventKey
from serving.dataplane.hooks.monitor_link import MonitorLink
from serving.dataplane.hooks.pending_events import PendingEvents
from serving.protocol.datatypes import NUMPY_OF
from serving.protocol.messages import Tensor
from serving.telemetry.counters import SeriesSet, SumSeries
from serving.telemetry.metrics.events import EVENTS_DROPPED, EVENTS_SENT

# BF16 travels as its bits, in UINT16; the monitor knows the model and widens them.
_DATATYPE_OF: Final = {dtype: name for name, dtype in NUMPY_OF.items() if name != "BF16"}

NO_MONITOR: Final = "no_monitor"
BACKLOG: Final = "backlog"


class Limits(msgspec.Struct, frozen=True):
    """When events leave, and when they are dropped.

    Attributes:
        rows, bytes: a message leaves when it holds so much.
        delay_s: no row waits longer for company than this. A message costs as much as hundreds of
            rows, at both ends, and findings are about windows: nobody waits for a single row.
        unsent_bytes: while a connection holds more than this, messages wait here.
        kept_bytes: messages that no monitor has made safe yet; more is dropped. Each monitor has
            an equal share of it, so that a dead one costs the others' models nothing. One that is
            restarted is away for a second or two.
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
    """Coalesces prediction events per model version and sends them to the model's monitor.

    All methods belong to the loop's thread.

    Args:
        gateway: id of this gateway.
        series: where `vigil.events.sent` and `vigil.events.dropped` (rows) are kept.
        secret: the cluster's secret for TCP channels; None on one host.
        limits: when events leave, and when they are dropped.
        incarnation: tells this process from an earlier one with the same id; None: by the time.
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
        self._incarnation = incarnation
        self._secret = secret
        self._series = series
        limits = limits or Limits()
        self._limits = limits
        self._max_rows, self._max_bytes = limits.rows, limits.bytes
        self._open: dict[EventKey, PendingEvents] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._monitors = 0
        self._links: dict[str, MonitorLink] = {}
        self._recorders: dict[tuple[str, str, str], SumSeries] = {}
        self.published = Totals()
        self.sent = Totals()
        self.dropped: dict[str, Totals] = {NO_MONITOR: Totals(), BACKLOG: Totals()}
        self._follow(1)

    # -- where the monitors are ---------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether every monitor is there to take events."""
        return all(link.connected for link in self._links.values())

    def on_directory(self, directory: Directory) -> None:
        """Learn where the monitors are; connects and reconnects by itself from then on."""
        self._follow(directory.monitors)
        # A control plane that has just restarted knows nobody yet; monitors may well be there.
        for member in directory.of_role("monitor"):
            if member.address and member.id in self._links:
                self._links[member.id].reach(member.address)

    def _follow(self, monitors: int) -> None:
        """Have a link to each of so many monitors, and no others."""
        if monitors == self._monitors:
            return
        before, self._monitors = self._links, monitors
        ids = monitor_ids(monitors)
        self._links = {
            ident: before[ident] if ident in before else self._link(ident) for ident in ids
        }
        for link in self._links.values():
            link.delivery.most_bytes = self._limits.kept_bytes // monitors
        for ident in before.keys() - self._links.keys():
            self._leave(before[ident])

    def _link(self, ident: str) -> MonitorLink:
        delivery = Delivery(
            self._gateway,
            time.time_ns() if self._incarnation is None else self._incarnation,
            most_bytes=self._limits.kept_bytes,
            unsent_bytes=self._limits.unsent_bytes,
            on_sent=self._sent,
        )
        return MonitorLink(ident, delivery, self._secret, self.flush)

    def close(self) -> None:
        """Send what waits, drop it where no monitor is, and close the connections."""
        self.flush()
        for link in self._links.values():
            self._leave(link)

    def _leave(self, link: MonitorLink) -> None:
        reason = _reason(link)
        for meta in link.close():
            self._drop(meta.model, meta.version, reason, len(meta.ids), sum(meta.rows))

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
        for link in self._links.values():
            link.delivery.send()

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for company, or for a monitor to take them."""
        unsent = sum(link.delivery.unsent_rows for link in self._links.values())
        return unsent + sum(pending.rows for pending in self._open.values())

    @property
    def kept_bytes(self) -> int:
        """Bytes of messages that no monitor has made safe yet, about."""
        return sum(link.delivery.bytes for link in self._links.values())

    def _flush(self, key: EventKey, pending: PendingEvents) -> None:
        link = self._links[monitor_of_model(key.model, self._monitors)]
        delivery = link.delivery
        for part in pending.take():
            requests, rows = len(part.ids), part.total
            self.published.add(requests, rows)
            tensors = [
                *_tensors(observation.INPUT_PREFIX, part.inputs),
                *_tensors(observation.OUTPUT_PREFIX, part.outputs),
            ]
            if part.scores:
                tensors += _tensors(observation.SCORE_PREFIX, part.scores)
            size = size_of(part.ids, tensors, part.sensitive)
            if not delivery.room(size):
                self._drop(key.model, key.version, _reason(link), requests, rows)
                continue
            meta = EventMeta(
                delivery.next, key.model, key.version, part.timestamp, part.ids, part.rows,
                part.sensitive, key.upstream, key.revision, key.kind, part.batches, part.requests,
                part.guards,
            )  # fmt: skip
            delivery.add(meta, tensors, size)

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
        self,
        kind: str,
        meta: object,
        tensors: Sequence[Tensor] = (),
        *,
        model: str,
    ) -> Message:
        """Ask a model's monitor (labels, findings, report); it sees what was published of the
        model before.

        Args:
            kind, meta, tensors: the message.
            model: whose monitor is asked. It need not be served: what is about no model takes a
                text that is the same at every gateway.

        Raises:
            ModelNotReady: the monitor is not there, it has not begun to take events, or it went
                away before it answered.
            VigilError: what the monitor answered.
        """
        for key, pending in self._open.items():
            if key.model == model:  # others gather on: many small messages cost much
                self._flush(key, pending)
        return await self._links[monitor_of(model, self._monitors)].request(kind, meta, tensors)


def _reason(link: MonitorLink) -> str:
    return BACKLOG if link.connected else NO_MONITOR


def _tensors(prefix: str, arrays: Mapping[str, np.ndarray]) -> list[Tensor]:
    return [
        Tensor(prefix + name, _DATATYPE_OF[array.dtype], array.shape, array)
        for name, array in arrays.items()
    ]
