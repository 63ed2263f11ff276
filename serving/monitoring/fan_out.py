"""One order for all that a monitor is told: every message goes to the judges, then to consumers.

Messages come from connections or, after a restart, from the write-ahead log, with the times at
which they were taken in first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from serving.channel.frame_parts import Message
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import (
    EVENTS,
    LABELS,
    LABELS_WANTED,
    POSITION,
    RESET_REFERENCE,
    EventMeta,
    LabelsMeta,
    LabelsWantedMeta,
    Position,
    RecalledMeta,
    ResetMeta,
)
from serving.errors import Unsupported
from serving.monitoring.model_monitors import LearnedLabels
from serving.monitoring.recorded_clock import RecordedClock
from serving.monitoring.service import MonitoringService
from serving.protocol.messages import Tensor
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

SERVED: Final = "served"
"""Kind of a message that only the write-ahead log has: what is served from then on."""
RECALLED: Final = "recalled"
"""Kind of a message that only the write-ahead log has: predictions that were looked up in the
prediction log, so that what comes after them does not depend on its files."""


class Served(msgspec.Struct, array_like=True, frozen=True):
    """What is served from now on."""

    models: tuple[ServedModel, ...]


Told = EventMeta | Position | LabelsMeta | LabelsWantedMeta | RecalledMeta | ResetMeta | Served
"""What changes what is judged; all else only asks."""

_DECODERS: Final[dict[str, Callable[[Any], Told]]] = {
    EVENTS: msgspec.msgpack.Decoder(EventMeta).decode,
    POSITION: msgspec.msgpack.Decoder(Position).decode,
    LABELS: msgspec.msgpack.Decoder(LabelsMeta).decode,
    LABELS_WANTED: msgspec.msgpack.Decoder(LabelsWantedMeta).decode,
    RECALLED: msgspec.msgpack.Decoder(RecalledMeta).decode,
    RESET_REFERENCE: msgspec.msgpack.Decoder(ResetMeta).decode,
    SERVED: msgspec.msgpack.Decoder(Served).decode,
}


def read(message: Message) -> Told:
    """Return what a message tells.

    Raises:
        Unsupported: it tells nothing that changes a monitor's state.
        msgspec.DecodeError: it is damaged.
    """
    if message.kind not in _DECODERS:
        raise Unsupported(f"a monitor does not take in '{message.kind[:40]}'")
    return _DECODERS[message.kind](message.meta)


class Consumer(Protocol):
    """Somebody beside the judges who is told of every prediction, once and in order.

    It never blocks the caller, and what it cannot do is its own matter.
    """

    def serve(self, models: Sequence[ServedModel]) -> None:
        """Take note of what is served from now on; called before any of its predictions."""

    def taken_in(
        self, meta: EventMeta, tensors: Sequence[Tensor], now: float, replayed: bool
    ) -> None:
        """Take one `events` message, which is in the write-ahead log already.

        Args:
            meta, tensors: the message; arrays are read-only views that stay valid.
            now: seconds since the epoch when it was taken in first.
            replayed: it comes from the write-ahead log after a restart: the process before this
                one may have dealt with it. What it had before its last `flush` never comes again.
        """

    def flush(self) -> None:
        """Make safe all that was taken in before this call, or give it up.

        Called in a thread before a checkpoint is written, while more is taken in by the loop.
        What was taken in before the checkpoint is not replayed.
        """


class LabelConsumer(Protocol):
    """Somebody who is told of labels that have met their predictions, each once and in order."""

    def labelled(self, labels: Sequence[LearnedLabels], now: float, replayed: bool) -> None:
        """Take labels; arguments, and what must not happen, are those of `Consumer.taken_in`."""


class FanOut:
    """Applies what a monitor is told. Belongs to one thread.

    Args:
        service: the judges.
        clock: the clock that the service reads.
        consumers: who else is told of predictions.
        labels: who else is told of labels; None: nobody.
    """

    def __init__(
        self,
        service: MonitoringService,
        clock: RecordedClock,
        consumers: Sequence[Consumer] = (),
        labels: LabelConsumer | None = None,
    ) -> None:
        self.service = service
        self._clock = clock
        self._consumers = list(consumers)
        self._labels = labels

    def apply(
        self, told: Told, tensors: Sequence[Tensor], now: float, *, replayed: bool = False
    ) -> object:
        """Do what a message says at the time `now`; returns the answer to it, if it has one.

        Raises:
            VigilError: it is refused, and nothing has changed.
        """
        with self._clock.stopped(now):
            if isinstance(told, EventMeta):
                if self.service.observe(told, tensors):
                    self._taken_in(told, tensors, now, replayed)
                    self._learned(now, replayed)
            elif isinstance(told, Position):
                self.service.at(told)
            elif isinstance(told, LabelsMeta):
                answer = self.service.label(told)
                self._learned(now, replayed)
                return answer
            elif isinstance(told, LabelsWantedMeta):
                return self.service.order_labels(told)
            elif isinstance(told, RecalledMeta):
                self.service.recalled(told)
            elif isinstance(told, ResetMeta):
                return self.service.reset_reference(told.model)
            else:
                self._serve(told.models)
        return None

    def flush(self) -> None:
        """Have every consumer make safe what it was given before; runs in a thread."""
        for consumer in self._consumers:
            try:
                consumer.flush()
            except Exception as error:  # noqa: BLE001 - the state is saved all the same
                _failed(consumer, error)

    def _serve(self, models: Sequence[ServedModel]) -> None:
        self.service.serve(models)
        for consumer in self._consumers:
            try:
                consumer.serve(models)
            except Exception as error:  # noqa: BLE001 - the judges and the others go on
                _failed(consumer, error)

    def _learned(self, now: float, replayed: bool) -> None:
        learned = self.service.watches.learned()
        if learned and self._labels is not None:
            try:
                self._labels.labelled(learned, now, replayed)
            except Exception as error:  # noqa: BLE001 - the judges have them all the same
                _failed(self._labels, error)

    def _taken_in(
        self, meta: EventMeta, tensors: Sequence[Tensor], now: float, replayed: bool
    ) -> None:
        for consumer in self._consumers:
            try:
                consumer.taken_in(meta, tensors, now, replayed)
            except Exception as error:  # noqa: BLE001 - the judges and the others go on
                _failed(consumer, error)


def _failed(consumer: Consumer | LabelConsumer, error: Exception) -> None:
    said = f"a consumer of predictions failed: {type(consumer).__name__}"
    report(Event.MONITOR_FAILED, said, error=error)
