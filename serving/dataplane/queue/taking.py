"""Which of the waiting requests leave together."""

from __future__ import annotations

from collections import deque

from serving.dataplane.queue.fair_queue import FairQueue
from serving.dataplane.requests.pending import Pending


def take_alike(
    waiting: deque[Pending] | FairQueue, most: int, most_bytes: int, lost_before: float
) -> tuple[list[Pending], int, list[Pending]]:
    """Take the request whose turn it is and all that are like it; the others keep their places.

    Args:
        most, most_bytes: rows and bytes of all, unless the first has more by itself.
        lost_before: the loop's time before which no deadline can be kept any more; 0: unknown.

    Returns:
        What was taken, its rows, and what was dropped on the way because nobody waits for it any
        more or its deadline cannot be kept.
    """
    rows, key = 0, None
    taken: list[Pending] = []
    passed_over: list[Pending] = []
    dropped: list[Pending] = []
    while waiting:
        item = waiting.popleft()
        bound = item.bound
        if item.future.done() or (  # expired or cancelled while it waited
            lost_before and item.timer is not None and item.timer.when() < lost_before
        ):
            dropped.append(item)
            continue
        if key is None:
            key = bound.key
            size = 0
            for array in bound.arrays:  # a generator would be resumed for each
                size += array.nbytes
            most = min(most, most_bytes // max(size // bound.rows, 1))
        if bound.key != key or (taken and bound.alone):
            passed_over.append(item)
        elif taken and rows + bound.rows > most:
            waiting.appendleft(item)
            break
        else:
            taken.append(item)
            rows += bound.rows
            if bound.alone:
                break
    waiting.extendleft(reversed(passed_over))
    return taken, rows, dropped
