"""The batcher itself, in this process, over a link that sleeps as long as a batch would take."""

from __future__ import annotations

import asyncio
import time

import numpy as np

from guards.runner import GuardRunner
from loadtest.scheduling.setting import GOAL_S, Case, Curve, arrivals
from serving.channel.messages.inference import BatchResult, ResultMeta
from serving.config import Batching
from serving.dataplane.batching.batcher import Batcher
from serving.dataplane.batching.forming import BatchForming
from serving.dataplane.hooks.event_counters import EventCounters
from serving.dataplane.hooks.metrics import Metrics
from serving.dataplane.hooks.recorder import Recorder
from serving.dataplane.hooks.statistics import BatchStatistics
from serving.dataplane.requests.batch import Batch
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending
from serving.dataplane.requests.rejections import settle, too_late
from serving.errors import VigilError
from serving.telemetry.counters import SeriesSet

MARGIN_S = 0.003
"""By so much the deferred policy begins earlier: sleeps and loops are never quite on time."""
WARM_UP_S = 1.0


class SleepingLink:
    """One replica with one slot."""

    id, slots, busy, rows, open = "sleeper", 1, 0, 0, True

    def __init__(self, curve: Curve) -> None:
        self._curve = curve

    async def send(self, batch: Batch) -> BatchResult:
        seconds = self._curve.seconds(batch.total)
        await asyncio.sleep(seconds)
        return BatchResult({"y": batch.arrays[0]}, ResultMeta({}, (), int(seconds * 1e9), 0))


class NeverGivingUp(BatchForming):
    """The batcher's forming without its giving up of requests that cannot be in time any more."""

    def lost_before(self, most: int) -> float:
        return 0.0


class DeferredForming(BatchForming):
    """Begins a batch as late as the oldest request allows; knows the true cost curve."""

    curve: Curve

    def _oldest_deadline(self) -> float:
        return self._queue.head.enqueued + GOAL_S - MARGIN_S

    def may_grow(self) -> bool:
        now = time.monotonic()
        sustained = self.curve.most_rows(GOAL_S / 2)
        queue = self._queue
        rows = queue.waiting_rows
        for item in queue.items():
            takes = self.curve.seconds(min(rows, sustained))
            if not item.future.done() and now + takes <= item.enqueued + GOAL_S - MARGIN_S:
                break
            settle(item, too_late(self._name))
            rows -= 1
        queue.drop_answered()
        if not queue.waiting_rows:
            return True
        rows = min(rows, self.most_rows())
        left = self._oldest_deadline() - self.curve.seconds(rows + 1) - now
        if left <= 0:
            return False
        if self._delay is not None:
            self._delay.cancel()
        self._delay = self._loop.call_later(left, self._changed)
        return True

    def most_rows(self) -> int:
        return self.curve.most_rows(self._oldest_deadline() - time.monotonic())


def goodput(case: Case, seconds: float, seed: int) -> float:
    """Return the share of the requests after the warm-up that are answered inside the goal."""
    return asyncio.run(_run(case, seconds, seed))


async def _run(case: Case, seconds: float, seed: int) -> float:
    # The goal makes the batcher bound its batches; `deferred` bounds them itself, and the delay
    # only makes it ask whether to wait.
    deferred = case.policy == "deferred"
    batching = Batching(
        latency_slo_ms=GOAL_S * 1e3, max_queue_delay_us=int(deferred), fair_share="none"
    )
    series = SeriesSet()
    hooks = (Metrics(series, "m", "1"), BatchStatistics())
    recorder = Recorder(("m", "1", ""), EventCounters(series, "m", "1", ()), hooks, ())
    DeferredForming.curve = case.curve
    forming = _FORMING[case.policy]
    guards = GuardRunner([])
    batcher = Batcher("m", ("x",), batching, guards, recorder, 4, forming=forming)
    batcher.add_link(SleepingLink(case.curve))
    bound = Bound((np.zeros((1, 1), np.float32),), 1, ((1,),), (), None)
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    good: list[bool] = []

    async def answered(item: Pending, due: float) -> bool:
        try:
            await item.future
        except VigilError:
            return False
        return time.monotonic() <= due + GOAL_S

    tasks = []
    for at in arrivals(case, WARM_UP_S + seconds, seed):
        due = began + float(at)
        if (pause := due - time.monotonic()) > 0:
            await asyncio.sleep(pause)
        # Open loop: a request counts from when it was due, however late this loop is.
        item = Pending("", bound, loop.create_future(), due)
        try:
            batcher.submit(item, due + GOAL_S - time.monotonic())
        except VigilError:
            if at >= WARM_UP_S:
                good.append(False)
            continue
        task = loop.create_task(answered(item, due))
        if at >= WARM_UP_S:
            tasks.append(task)
    good += await asyncio.gather(*tasks)
    return sum(good) / len(good)


_FORMING: dict[str, type[BatchForming]] = {
    "eager": NeverGivingUp,
    "eager, giving up": BatchForming,
    "deferred": DeferredForming,
}
