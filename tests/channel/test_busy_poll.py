"""An event loop that is kept awake, and falls asleep again."""

from __future__ import annotations

import asyncio
import os

from serving.channel.busy_poll import BusyPoll


async def test_it_gives_the_processor_away_in_every_turn_and_then_sleeps(monkeypatch, eventually):
    turns = []
    monkeypatch.setattr(os, "sched_yield", lambda: turns.append(asyncio.get_running_loop().time()))
    poll = BusyPoll(0.5)
    begun = asyncio.get_running_loop().time()
    poll.extend()
    poll.extend()  # two callers keep one loop awake
    await eventually(lambda: len(turns) > 3)
    await eventually(lambda: asyncio.get_running_loop().time() > begun + 0.8)
    seen = len(turns)
    await asyncio.sleep(0.05)
    assert len(turns) == seen

    poll.extend()  # and again
    await eventually(lambda: len(turns) > seen)


async def test_without_a_time_the_loop_sleeps(monkeypatch):
    monkeypatch.setattr(os, "sched_yield", lambda: 1 / 0)
    BusyPoll(0.0).extend()
    await asyncio.sleep(0.01)
