"""Posts every answered request as KServe's pair of CloudEvents; nobody waits for the receiver.

A thread of its own writes and posts. What does not fit into the queue, and what the receiver does
not take after a few tries, is dropped and counted: `posted + dropped + waiting` is all that was
offered, in requests.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import ANSWERED, EventMeta
from serving.config import ModelConfig
from serving.config.cloudevents import CloudEvents
from serving.config.encoded import decode_config
from serving.errors import InvalidInput
from serving.monitoring.sinks.pairs import Pair, pairs
from serving.monitoring.sinks.posting import Poster
from serving.protocol import cloudevents
from serving.protocol.messages import Tensor
from serving.protocol.weight import weight
from serving.telemetry.counters import SeriesSet, SumSeries
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.metrics.cloudevents import SINK_DROPPED, SINK_POSTED
from serving.telemetry.series import Series

STOP_S: Final = 2.0
"""What waits at the end may take so long."""

MOST_BYTES: Final = 4 << 20
"""Bytes of events in a request, unless one event alone has more."""

TRIES: Final = 4
_FIRST_PAUSE_S: Final = 0.2
_OVERHEAD: Final = 256
"""About the bytes that a request costs beside its arrays."""

_MOST_REMEMBERED: Final = 1024
"""Model versions whose configuration is known, served ones aside."""

QUEUE: Final = "queue"
REFUSED: Final = "refused"
FAILED: Final = "failed"
INCOMPLETE: Final = "incomplete"
STOPPED: Final = "stopped"


class _Waiting(msgspec.Struct):
    meta: EventMeta
    tensors: Sequence[Tensor]
    size: int


class CloudEventSink:
    """A consumer of the monitor's events.

    Args:
        config: where to, and how.
        tries: how often a post is tried.
        pause_s: before the second try; twice as long before each further one.
    """

    def __init__(
        self, config: CloudEvents, *, tries: int = TRIES, pause_s: float = _FIRST_PAUSE_S
    ) -> None:
        self._config = config
        self._tries, self._pause_s = tries, pause_s
        self._most = config.queue_mib << 20
        self._poster = Poster(config.url, config.timeout_s)
        self._models: dict[tuple[str, str], ModelConfig] = {}
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._series = SeriesSet()
        self._posted = self._series.sum(SINK_POSTED)
        self._dropped: dict[str, SumSeries] = {}
        self._pending: list[Pair] = []
        self._pending_bytes = 0
        self._due = 0.0
        self._stop_at: float | None = None
        self._stopping = threading.Event()
        self._ill = False
        self._thread = threading.Thread(target=self._run, name="cloudevents", daemon=True)

    def start(self) -> None:
        """Start the thread that posts."""
        self._thread.start()

    def close(self, timeout_s: float = STOP_S) -> None:
        """Post what waits, as far as the time allows; drop the rest. Runs in any thread."""
        with self._changed:
            self._stop_at = time.monotonic() + timeout_s
            self._stopping.set()
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s + 0.5)

    # -- as a consumer ------------------------------------------------------------------

    def serve(self, models: Sequence[ServedModel]) -> None:
        """Take note of what is served; of what is gone events may still come."""
        known = dict(self._models)
        for served in models:
            key = served.name, served.version
            known.pop(key, None)
            known[key] = decode_config(served.config)
        while len(known) > max(_MOST_REMEMBERED, len(models)):
            del known[next(iter(known))]
        self._models = known

    def taken_in(
        self, meta: EventMeta, tensors: Sequence[Tensor], now: float, replayed: bool
    ) -> None:
        """Take an `events` message; never waits. What is replayed may be posted a second time."""
        if meta.kind != ANSWERED or not meta.ids:
            return
        size = sum(weight(tensor.data) for tensor in tensors) + _OVERHEAD * len(meta.ids)
        with self._changed:
            if self._stop_at is None and (not self._queue or self._bytes + size <= self._most):
                self._queue.append(_Waiting(meta, tensors, size))
                self._bytes += size
                self._changed.notify()
                return
            self._drop(QUEUE if self._stop_at is None else STOPPED, len(meta.ids))

    def flush(self) -> None:
        """Do nothing: a checkpoint does not wait for a receiver, and what waits may be lost."""

    def snapshot(self) -> tuple[Series, ...]:
        """Return its series."""
        with self._changed:
            return self._series.snapshot()

    @property
    def waiting(self) -> int:
        """Messages that nobody has looked at yet."""
        return len(self._queue)

    # -- the thread ---------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            message = self._next()
            if message is None:
                break
            if message is not _NOTHING:
                self._write(message)
            if self._pending and time.monotonic() >= self._due:
                self._post_pending()
        self._post_pending()
        with self._changed:
            for waiting in self._queue:
                self._drop(STOPPED, len(waiting.meta.ids))
            self._queue.clear()
        self._poster.close()

    def _next(self) -> _Waiting | None:
        """Return the next message, `_NOTHING` when a post is due, None at the end."""
        with self._changed:
            while not self._queue:
                if self._stop_at is not None:
                    return None
                left = self._due - time.monotonic() if self._pending else None
                if left is not None and left <= 0:
                    return _NOTHING
                self._changed.wait(left)
            if self._stop_at is not None and time.monotonic() >= self._stop_at:
                return None
            message = self._queue.popleft()
            self._bytes -= message.size
            return message

    def _write(self, message: _Waiting) -> None:
        meta = message.meta
        config = self._models.get((meta.model, meta.version))
        done = 0
        try:
            if config is None:
                raise InvalidInput(f"version {meta.version} of '{meta.model}' is not served")
            for pair in pairs(meta, message.tensors, config):
                self._add(pair)
                done += 1
        except Exception as error:  # noqa: BLE001 - the next message may be well
            self._count(INCOMPLETE, len(meta.ids) - done)
            if not isinstance(error, InvalidInput):
                said = "predictions could not be written as CloudEvents"
                report(Event.OBSERVATION_FAILED, said, model=meta.model, error=error)

    def _add(self, pair: Pair) -> None:
        if not self._pending:
            self._due = time.monotonic() + self._config.interval_s
        size = sum(len(event.data) for event in pair)
        if self._pending and self._pending_bytes + size > MOST_BYTES:
            self._post_pending()
            self._due = time.monotonic() + self._config.interval_s
        self._pending.append(pair)
        self._pending_bytes += size
        if 2 * len(self._pending) + 2 > self._config.batch or self._config.mode == "binary":
            self._post_pending()

    def _post_pending(self) -> None:
        ready, self._pending, self._pending_bytes = self._pending, [], 0
        if not ready:
            return
        posts = self._posts(ready)
        reason = ""
        for body, headers in posts:
            reason = self._post(body, headers)
            if reason:
                break  # half a pair is of no use to anybody
        if reason:
            self._count(reason, len(ready))
        else:
            with self._changed:
                self._posted.value += len(ready)

    def _posts(self, ready: Sequence[Pair]) -> list[tuple[bytes, dict[str, str]]]:
        events = [event for pair in ready for event in pair]
        if self._config.mode == "binary":
            return [(event.data, cloudevents.binary_headers(event)) for event in events]
        body = b"[%b]" % b",".join(map(cloudevents.structured, events))
        return [(body, {"content-type": cloudevents.BATCH})]

    def _post(self, body: bytes, headers: dict[str, str]) -> str:
        """Post, several times if need be; returns why it was in vain, nothing when it was not."""
        pause_s = self._pause_s
        for again in range(self._tries):
            if again and self._stopping.wait(pause_s * random.uniform(0.5, 1)):  # noqa: S311
                return STOPPED
            pause_s *= 2
            left = self._time_left()
            if left <= 0:
                return STOPPED
            try:
                status = self._poster.post(body, headers, left)
            except OSError as error:
                self._tell(f"cannot be reached: {error}")
                continue
            if 200 <= status < 300:
                self._well()
                return ""
            self._tell(f"answers {status}")
            if status < 500 and status not in (408, 425, 429):
                return REFUSED
        return FAILED

    def _time_left(self) -> float:
        return self._config.timeout_s if self._stop_at is None else self._stop_at - time.monotonic()

    # -- what it tells ------------------------------------------------------------------

    def _tell(self, what: str) -> None:
        """Log the first failure after a success; the metric has the rest."""
        if not self._ill:
            self._ill = True
            report(Event.CLOUDEVENTS_NOT_TAKEN, f"the receiver of CloudEvents {what[:200]}")

    def _well(self) -> None:
        self._ill = False

    def _count(self, reason: str, requests: int) -> None:
        with self._changed:
            self._drop(reason, requests)

    def _drop(self, reason: str, requests: int) -> None:
        dropped = self._dropped.get(reason)
        if dropped is None:
            dropped = self._dropped[reason] = self._series.sum(SINK_DROPPED, reason=reason)
        dropped.value += requests


_NOTHING: Final = _Waiting(None, (), 0)  # type: ignore[arg-type]


def sink_of(
    config: CloudEvents | None, make: Callable[[CloudEvents], CloudEventSink] = CloudEventSink
) -> CloudEventSink | None:
    """Return the sink that the configuration asks for, started."""
    if config is None:
        return None
    sink = make(config)
    sink.start()
    return sink
