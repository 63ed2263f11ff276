"""The messages that a receiver has still to be given: bounded, in order, and kept in the store."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from serving.channel.messages.incidents import Incident
from serving.config import Webhook
from serving.incidents.ladder import rank
from serving.store.records import Delivery, Happened
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.incidents import WEBHOOK_DELIVERIES, WEBHOOK_WAITING

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 300.0
TOLD_APART_S: Final = 1e-6

Changed = Callable[[str, Delivery | None], None]


class Outbox:
    """The queue of one receiver.

    Args:
        webhook: the receiver.
        changed: called with each message that must be saved; None: it is done with.
        series: where it is counted what became of messages.
        clock: seconds since the epoch.
    """

    def __init__(
        self, webhook: Webhook, changed: Changed, series: SeriesSet, clock: Callable[[], float]
    ) -> None:
        self.webhook = webhook
        self._changed = changed
        self._series = series
        self._clock = clock
        self._queue: deque[Delivery] = deque()
        self._newest = 0.0
        self._waiting = series.gauge(WEBHOOK_WAITING, receiver=webhook.name)
        series.sum(WEBHOOK_DELIVERIES, receiver=webhook.name, outcome="delivered")

    def restore(self, deliveries: list[Delivery]) -> None:
        """Take in what waited before the start; it is older than what came since."""
        known = {each.id for each in self._queue}
        older = [each for each in deliveries if each.id not in known]
        self._queue.extendleft(reversed(older))
        self._newest = max((each.created_at for each in self._queue), default=0.0)
        self._shorten()

    def offer(self, event: Happened, incident: Incident) -> None:
        """Have the receiver told, if it wants to hear of such an incident."""
        if not self.wants(incident):
            return
        now = self._clock()
        # The store gives them back in this order, whatever the clock did.
        self._newest = max(now, self._newest + TOLD_APART_S)
        delivery = Delivery(
            id=str(uuid.uuid4()), receiver=self.webhook.name, event=event, incident=incident,
            created_at=self._newest, next_at=now,
        )  # fmt: skip
        self._queue.append(delivery)
        self._changed(delivery.id, delivery)
        self._shorten()

    def wants(self, incident: Incident) -> bool:
        """Whether the receiver wants to hear of an incident."""
        webhook = self.webhook
        named = not webhook.models or incident.model in webhook.models
        return named and rank(incident.severity) >= rank(webhook.min_severity)

    def _shorten(self) -> None:
        while len(self._queue) > self.webhook.queue:
            self.done(self._queue[0], "overflow")
        self._waiting.set(len(self._queue))

    def waiting(self) -> list[Delivery]:
        """Return the messages that the receiver has still to be given."""
        return list(self._queue)

    def next(self) -> Delivery | None:
        """Return the message whose turn it is; None where none is, or it is too early.

        A receiver must not hear of an end before the beginning: those behind it wait as well.
        """
        now = self._clock()
        while self._queue and now - self._queue[0].created_at > self.webhook.give_up_after_s:
            self.done(self._queue[0], "expired")
        # What is due later than any pause lasts was put off before the clock was set back.
        if not self._queue or 0 < self._queue[0].next_at - now <= LONGEST_PAUSE_S:
            return None
        return self._queue[0]

    def done(self, delivery: Delivery, outcome: str) -> None:
        """Be done with a message, which the receiver has taken or will never get."""
        if delivery.id in {each.id for each in self._queue}:
            self._queue = deque(each for each in self._queue if each.id != delivery.id)
            self._changed(delivery.id, None)
            receiver = self.webhook.name
            self._series.sum(WEBHOOK_DELIVERIES, receiver=receiver, outcome=outcome).add(1)
        self._waiting.set(len(self._queue))

    def failed(self, delivery: Delivery, wait_s: float | None = None) -> None:
        """Try a message again later.

        Args:
            delivery: the one whose turn it is.
            wait_s: what the receiver wants; None: twice as long as the last time.
        """
        pause = FIRST_PAUSE_S * 2.0 ** min(delivery.attempts, 20)
        pause = min(pause if wait_s is None else max(wait_s, pause), LONGEST_PAUSE_S)
        again = replace(delivery, attempts=delivery.attempts + 1, next_at=self._clock() + pause)
        if self._queue and self._queue[0].id == delivery.id:
            self._queue[0] = again
            self._changed(again.id, again)

    def __len__(self) -> int:
        return len(self._queue)
