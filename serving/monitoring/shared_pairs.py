"""Joins halves of pairs that come to different gateways; each gateway records the pairs it gets."""

from __future__ import annotations

import time
from collections.abc import Callable

from serving.channel.messages.observation import HalfMeta, HalfReply
from serving.dataplane.observing.pairing import Half, Limits, Pairing
from serving.telemetry.counters import SeriesSet
from serving.telemetry.metrics.cloudevents import CLOUDEVENTS_DROPPED
from serving.telemetry.series import Series


class SharedPairs:
    """Halves that wait for their partners. Belongs to one thread.

    A restart of the monitor forgets what waits, and nobody counts it.

    Args:
        limits: what may wait.
        clock: monotonic seconds.
    """

    def __init__(
        self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._series = SeriesSet()
        self._pairing = Pairing(self._drop, limits)

    def half(self, told: HalfMeta) -> HalfReply:
        """Take in a half; return the other one where it has come before."""
        half = Half(told.body, told.time)
        pair = self._pairing.add(tuple(told.key), told.side, half, self._clock())
        if pair is None:
            return HalfReply(paired=False)
        other = pair[1] if told.side == "request" else pair[0]
        return HalfReply(paired=True, body=other.body, time=other.time)

    def snapshot(self) -> tuple[Series, ...]:
        """Return its series, with what is too old by now."""
        self._pairing.expire(self._clock())
        return self._series.snapshot()

    def _drop(self, reason: str, halves: int) -> None:
        self._series.sum(CLOUDEVENTS_DROPPED, reason=reason).value += halves
