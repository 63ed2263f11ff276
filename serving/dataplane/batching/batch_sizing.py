"""How many rows a batch may have, and how soon a request could be answered at best."""

from __future__ import annotations

from collections.abc import Sequence

from serving.channel.messages.inference import BatchResult
from serving.config import Batching
from serving.dataplane.batching.latency_model import LatencyModel
from serving.dataplane.links.link import ReplicaLink

DEFAULT_MAX_BATCH_ROWS = 1024
_SMOOTHING = 0.1
_HARDLY_LONGER = 1.25


class BatchSizing:
    """The learned side of one queue.

    Attributes:
        max_rows: rows that a batch may have at all.
        slo_s: the latency goal in seconds, or None.
        delay_s: how long a batch that could grow waits for company.
        deadlines: whether requests have had deadlines; the batcher says so.
    """

    def __init__(self, batching: Batching) -> None:
        self.max_rows = batching.max_batch_size or DEFAULT_MAX_BATCH_ROWS
        slo = batching.latency_slo_ms
        self.slo_s = None if slo is None else slo / 1e3
        self.delay_s = batching.max_queue_delay_us / 1e6
        self.deadlines = False
        self._model = LatencyModel()
        self._channel_s = 0.0

    def learn(
        self, rows: int, formed: float, now: float, result: BatchResult, *, alone: bool
    ) -> None:
        """Take in a batch that was formed and answered at these monotonic times."""
        computed = (result.meta.compute_ns + result.meta.guard_ns) / 1e9
        if alone:
            # Only then is all the rest the way there and back, and none of it waiting.
            self._channel_s += _SMOOTHING * (max(0.0, now - formed - computed) - self._channel_s)
        self._model.observe(rows, computed + self._channel_s, now)

    def most_rows(self, oldest: float, slots: int, now: float) -> int:
        """Return how many rows the next batch may have so that the goal holds.

        A request that comes at the worst moment waits for all `slots` of a replica and then for
        its own batch, so a batch may take that share of the goal, and always a little longer than
        the smallest: where that one takes most of it, tiny batches would only lose it. Where
        `oldest`, the arrival of the oldest request, shows that the goal is lost, throughput is
        what helps: no bound.
        """
        goal = self.slo_s
        if goal is None or now - oldest > goal:
            return self.max_rows
        share = max(goal / (slots + 1), _HARDLY_LONGER * self._model.high(1, now))
        return self._model.most_rows(share, self.max_rows, now)

    def least_s(self, rows: int, ahead: int, links: Sequence[ReplicaLink], now: float) -> float:
        """Return the seconds that `rows` behind `ahead` rows need if all goes as well as it can.

        A lower bound: largest batches at their quickest, on all replicas, none busy before. 0
        when nothing is known.
        """
        full = ahead // (self.max_rows * max(1, len(links)))
        needed = self._model.low(rows, now)
        return needed + full * self._model.low(self.max_rows, now) if full else needed
