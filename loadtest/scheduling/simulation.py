"""A discrete-event simulation of one replica that takes one batch at a time."""

from __future__ import annotations

from collections import deque

from loadtest.scheduling.setting import GOAL_S, Case, Curve, arrivals


def goodput(case: Case, seconds: float, seed: int) -> float:
    """Return the share of all requests that are answered inside the goal."""
    times = deque(float(time) for time in arrivals(case, seconds, seed))
    offered = len(times)
    step = _STEPS[case.policy]
    waiting: deque[float] = deque()
    now, good = 0.0, 0
    while times or waiting:
        if not waiting:
            now = max(now, times[0])
        while times and times[0] <= now:
            waiting.append(times.popleft())
        start, rows = step(case.curve, waiting, now)
        if not waiting:
            continue
        if times and times[0] <= start and start > now:
            now = times[0]  # somebody comes before the batch begins: think again
            continue
        now = start + case.curve.seconds(rows)
        good += sum(waiting.popleft() + GOAL_S >= now for _ in range(rows))
    return good / offered


def _eager(curve: Curve, waiting: deque[float], now: float) -> tuple[float, int]:
    """Begin at once with what waits, as much as takes half of the goal: what the batcher does."""
    while waiting and waiting[0] + GOAL_S < now:
        waiting.popleft()
    return now, min(len(waiting), curve.most_rows(GOAL_S / 2))


def _eager_giving_up(curve: Curve, waiting: deque[float], now: float) -> tuple[float, int]:
    """Begin at once, but not with requests whose answer would come too late."""
    sustained = curve.most_rows(GOAL_S / 2)
    while waiting and now + curve.seconds(min(len(waiting), sustained)) > waiting[0] + GOAL_S:
        waiting.popleft()
    return now, min(len(waiting), sustained)


def _deferred(curve: Curve, waiting: deque[float], now: float) -> tuple[float, int]:
    """Begin as late as one more row would still be in time for the oldest (Symphony).

    Requests that would force a batch below the size that sustains the capacity are given up.
    """
    sustained = curve.most_rows(GOAL_S / 2)
    while waiting and now + curve.seconds(min(len(waiting), sustained)) > waiting[0] + GOAL_S:
        waiting.popleft()
    if not waiting:
        return now, 0
    deadline = waiting[0] + GOAL_S
    rows = min(len(waiting), curve.most_rows(deadline - now))
    return max(now, deadline - curve.seconds(rows + 1)), rows


_STEPS = {"eager": _eager, "eager, giving up": _eager_giving_up, "deferred": _deferred}
