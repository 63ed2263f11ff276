"""The gateway's end of observation: publishes predictions to the monitor, never waits for it.

What cannot be sent is dropped and counted, so that `published = sent + dropped + pending` holds
at any moment here, and `sent = received + lost` at the monitor.
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
from serving.channel.messages.observation import EventMeta, Position
from serving.channel.peer import Peer
from serving.dataplane.hooks.pending_events import PendingEvents
from serving.errors import ModelNotReady
from serving.protocol.datatypes import NUMPY_OF
from serving.protocol.messages import Tensor
from serving.telemetry.counters import SeriesSet, SumSeries
from serving.telemetry.metrics.events import EVENTS_DROPPED, EVENTS_SENT

# BF16 travels as its bits, in UINT16; the monitor knows the model and widens them.
_DATATYPE_OF: Final = {dtype: name for name, dtype in NUMPY_OF.items() if name != "BF16"}

_Key = tuple[str, str, str]
"""A model, its version, and the version that another server gave."""

NO_MONITOR: Final = "no_monitor"
BACKLOG: Final = "backlog"


class Limits(msgspec.Struct, frozen=True):
    """When events leave, and when they are dropped.

    Attributes:
        rows, bytes: a message leaves when it holds so much.
        delay_s: no row waits longer for company than this. A message costs as much as hundreds of
            rows, at both ends, and findings are about windows: nobody waits for a single row.
        unsent_bytes: while the connection holds more than this, events are dropped.
        early_rows, early_bytes: what waits until the first monitor is there; more is dropped.
    """

    rows: int = 2048
    bytes: int = 1 << 20
    delay_s: float = 0.25
    unsent_bytes: int = 8 << 20
    early_rows: int = 16384
    early_bytes: int = 8 << 20


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
        self._incarnation = time.time_ns() if incarnation is None else incarnation
        self._open: dict[_Key, PendingEvents] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._monitor = Peer("the monitor", secret, on_up=self._up)
        # Clients may come before the monitor does, which nobody waits for.
        self._early = True
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
        connection.notify(observation.POSITION, self._position())
        self._early = False
        self.flush()

    def close(self) -> None:
        """Send what waits, drop it where no monitor ever came, and close the connection."""
        self._early = False
        self.flush()
        self._monitor.close()

    # -- events -------------------------------------------------------------------------

    def publish(
        self,
        model: str,
        version: str,
        timestamp: float,
        ids: Sequence[str],
        rows: Sequence[int],
        inputs: Mapping[str, np.ndarray],
        outputs: Mapping[str, np.ndarray],
        sensitive: Mapping[str, np.ndarray] | None = None,
        upstream: str = "",
    ) -> None:
        """Take in one answered batch; never waits and never raises.

        Args:
            model, version: what answered, as it is served.
            timestamp: seconds since the epoch.
            ids: id of each request.
            rows: rows of each request.
            inputs, outputs: arrays of all rows by name; kept for up to `delay_s`, not copied.
            sensitive: object arrays of text or None per row, by attribute.
            upstream: version that another server gave the answers, where it is not `version`.
        """
        key = (model, version, upstream)
        pending = self._open.get(key)
        if pending is None:
            pending = self._open[key] = PendingEvents()
        if pending.add(timestamp, ids, rows, inputs, outputs, sensitive):
            if pending.rows >= self._max_rows or pending.bytes >= self._max_bytes:
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
            if pending.rows:
                self._flush(key, pending)
            elif key[2]:  # another server may make up as many versions as it likes
                del self._open[key]

    @property
    def pending_rows(self) -> int:
        """Rows that wait for company, or for the first monitor."""
        return sum(pending.rows for pending in self._open.values())

    def _flush(self, key: _Key, pending: PendingEvents) -> None:
        if self._early and self._may_wait():
            return
        model, version, upstream = key
        for part in pending.take():
            requests, rows = len(part.ids), part.total
            self.published.add(requests, rows)
            connection = self._monitor.connection
            if connection is None:
                self._drop(model, version, NO_MONITOR, requests, rows)
            elif connection.unsent_bytes > self._limits.unsent_bytes:
                self._drop(model, version, BACKLOG, requests, rows)
            else:
                meta = EventMeta(
                    self._position(), model, version, part.timestamp, part.ids, part.rows,
                    part.sensitive, upstream,
                )  # fmt: skip
                tensors = [
                    *_tensors(observation.INPUT_PREFIX, part.inputs),
                    *_tensors(observation.OUTPUT_PREFIX, part.outputs),
                ]
                connection.notify(observation.EVENTS, meta, tensors)
                self.sent.add(requests, rows)
                self._recorder(model, version, "").add(rows)

    def _may_wait(self) -> bool:
        held = sum(pending.bytes for pending in self._open.values())
        return self.pending_rows <= self._limits.early_rows and held <= self._limits.early_bytes

    def _position(self) -> Position:
        sent = self.sent
        return Position(self._gateway, self._incarnation, sent.events, sent.requests, sent.rows)

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

    async def request(self, kind: str, meta: object, tensors: Sequence[Tensor] = ()) -> Message:
        """Ask the monitor (labels, findings, report); what was published before is seen by it.

        Raises:
            ModelNotReady: no monitor is there, or it went away before it answered.
            VigilError: what the monitor answered.
        """
        self.flush()
        if (connection := self._monitor.connection) is not None:
            with contextlib.suppress(ChannelClosed):
                return await connection.request(kind, meta, tensors)
        raise ModelNotReady("the monitor is not there; retry later", retry_after_s=1)


def _tensors(prefix: str, arrays: Mapping[str, np.ndarray]) -> list[Tensor]:
    return [
        Tensor(prefix + name, _DATATYPE_OF[array.dtype], array.shape, array)
        for name, array in arrays.items()
    ]
