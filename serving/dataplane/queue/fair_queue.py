"""The order of a queue in which clients take turns and priorities go first.

Start-time fair queueing (Goyal, Vin and Cheng 1996) within a priority: a request's place is
where its client's rows before it end, but never before the place that is being served now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from functools import lru_cache
from heapq import heapify, heappop, heappush
from ipaddress import IPv6Address
from itertools import count

from serving.dataplane.requests.pending import Pending

MOST_IDLE_FLOWS = 256
"""Flows without a waiting request whose places are remembered."""


class _Flow:
    """What one client has waiting at one priority, oldest first."""

    __slots__ = ("end", "items", "priority", "rows")

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.items: deque[Pending] = deque()
        self.rows = 0
        self.end = 0.0


class FairQueue:
    """A queue with the methods of a deque that the batcher uses; leaves in fair order.

    What was taken may be put back (`appendleft`, the last taken first) and keeps its place.
    Priorities are strict: as long as a higher one has something waiting, lower ones wait.
    """

    def __init__(self, items: Iterable[Pending]) -> None:
        self._heap: list[tuple[int, tuple[float, int], Pending]] = []
        self._flows: dict[Hashable, _Flow] = {}
        self._serial = count()
        self._now: dict[int, float] = {}
        self._length = 0
        self.extend(items)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Pending]:
        return iter([item for *_, item in sorted(self._heap) if item.turn is not None])

    @property
    def first(self) -> Pending:
        """The request whose turn it is; there must be one."""
        while self._heap[0][2].turn is None:  # pushed out
            heappop(self._heap)
        return self._heap[0][2]

    def append(self, item: Pending) -> None:
        """Queue a request behind those of its flow."""
        key = _key(item.flow)
        flow = self._flows.get(key)
        if flow is None:
            if len(self._flows) > len(self._heap) + MOST_IDLE_FLOWS:
                self._forget()
            flow = self._flows[key] = _Flow(item.priority)
        begin = max(flow.end, self._now.get(item.priority, 0.0))
        item.turn = turn = (begin, next(self._serial))
        flow.end = begin + item.bound.rows
        flow.items.append(item)
        self._push(flow, item, turn)

    def extend(self, items: Iterable[Pending]) -> None:
        """Queue several."""
        for item in items:
            self.append(item)

    def popleft(self) -> Pending:
        """Take the request whose turn it is."""
        item = self.first
        priority, (turn, _), _ = heappop(self._heap)
        if turn > self._now.get(priority, 0.0):
            self._now[priority] = turn
        flow = self._flows[_key(item.flow)]
        flow.items.popleft()
        flow.rows -= item.bound.rows
        self._length -= 1
        return item

    def appendleft(self, item: Pending) -> None:
        """Put back what was taken."""
        assert item.turn is not None
        flow = self._flows[_key(item.flow)]
        flow.items.appendleft(item)
        self._push(flow, item, item.turn)

    def extendleft(self, items: Iterable[Pending]) -> None:
        """Put back several, the last taken first."""
        for item in items:
            self.appendleft(item)

    def has_share_left(self, flow: Hashable) -> bool:
        """Whether `push_out` might make room for a request of a flow, however small it is."""
        mine = self._flows.get(_key(flow))
        priority = flow[0] if isinstance(flow, tuple) else 0
        rows = peers = 0
        for other in self._flows.values():
            if not other.rows:
                continue
            if other.priority > priority:
                return True
            if other.priority == priority:
                rows += other.rows
                peers += 1
        return peers > 0 and (1 + (mine.rows if mine else 0)) * peers <= rows

    def push_out(self, item: Pending, rows: int) -> list[Pending]:
        """Make room of `rows` for a request that has a better right to it.

        Lower priorities go first, the newest of the client with most rows. Within its own
        priority a request pushes out only when its client has less than its share of the rows.

        Returns:
            What was pushed out; nothing when that would not be room enough.
        """
        flows = [flow for flow in self._flows.values() if flow.rows]
        worse = sum(flow.rows for flow in flows if flow.priority > item.priority)
        out: list[Pending] = []
        if worse < rows:
            peers = [flow for flow in flows if flow.priority == item.priority]
            mine = self._flows.get(_key(item.flow))
            own = item.bound.rows + (mine.rows if mine else 0)
            if not peers or own * len(peers) > sum(flow.rows for flow in peers):
                return []
            largest = max(peers, key=_rows)
            if largest.rows - (rows - worse) < own - item.bound.rows:
                return []
            freed = self._cut(largest, rows - worse, out)
            rows -= freed
        while rows > 0:
            flow = max((flow for flow in flows if flow.rows), key=_worst)
            rows -= self._cut(flow, 1, out)
        self._let_go()
        return out

    def _cut(self, flow: _Flow, rows: int, out: list[Pending]) -> int:
        freed = 0
        while freed < rows and flow.items:
            item = flow.items.pop()
            item.turn = None
            freed += item.bound.rows
            self._length -= 1
            out.append(item)
        flow.rows -= freed
        flow.end -= freed
        return freed

    def _let_go(self) -> None:
        """Let go of what was pushed out, once it is most of the heap.

        The turn of a lower priority may never come, and each of its requests holds its arrays.
        """
        if len(self._heap) > 2 * self._length + MOST_IDLE_FLOWS:
            self._heap = [entry for entry in self._heap if entry[2].turn is not None]
            heapify(self._heap)

    def _push(self, flow: _Flow, item: Pending, turn: tuple[float, int]) -> None:
        flow.rows += item.bound.rows
        self._length += 1
        heappush(self._heap, (item.priority, turn, item))

    def _forget(self) -> None:
        """Forget flows that have nothing waiting: they begin anew, at the place served now."""
        self._flows = {key: flow for key, flow in self._flows.items() if flow.items}


@lru_cache(4096)
def _key(flow: Hashable) -> Hashable:
    """Return a flow with an IPv6 address cut to its network: one client owns all of that."""
    if isinstance(flow, tuple):
        return (flow[0], _key(flow[1]))
    if isinstance(flow, str) and ":" in flow:
        try:
            return int(IPv6Address(flow)) >> 64
        except ValueError:
            return flow
    return flow


def _rows(flow: _Flow) -> int:
    return flow.rows


def _worst(flow: _Flow) -> tuple[int, int]:
    return (flow.priority, flow.rows)
