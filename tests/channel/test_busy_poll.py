"""An event loop that is kept awake while the next event is near, and sleeps otherwise."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from serving.channel import busy_poll
from serving.channel.busy_poll import ANSWER, REQUEST, BusyPoll


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(busy_poll, "time", clock)
    return clock


@pytest.fixture
def turns(monkeypatch):
    """The turns in which the processor was given away."""
    seen: list[None] = []
    monkeypatch.setattr(os, "sched_yield", lambda: seen.append(None))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    return seen


async def run_a_little() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_it_stays_awake_where_the_last_wait_was_short_and_only_so_long(clock, turns):
    poll = BusyPoll(0.5)
    clock.now += 0.1
    poll.expect(REQUEST, alone=True)
    await run_a_little()
    assert turns
    clock.now += 0.5
    await run_a_little()
    seen = len(turns)
    await run_a_little()
    assert len(turns) == seen


async def test_each_turn_gives_the_processor_away_and_lets_the_loop_go_on(clock, turns):
    poll = BusyPoll(0.5)
    poll.expect(REQUEST, alone=True)
    poll.expect(REQUEST, alone=True)  # two events keep one loop awake
    for turn in range(1, 4):
        await asyncio.sleep(0)
        assert len(turns) == turn


async def test_a_long_wait_is_slept_through_and_so_is_the_next(clock, turns):
    poll = BusyPoll(0.5)
    clock.now += 0.6
    poll.expect(REQUEST, alone=True)
    await run_a_little()
    assert not turns

    clock.now += 0.1  # what comes quickly again is waited for again
    poll.expect(REQUEST, alone=True)
    await run_a_little()
    assert turns


async def test_answers_and_requests_are_expected_each_by_its_own(clock, turns):
    poll = BusyPoll(0.5)
    poll.expect(ANSWER, alone=True)
    clock.now += 3  # the model takes long
    poll.expect(REQUEST, alone=True)
    clock.now += 0.1  # its client does not
    turns.clear()
    poll.expect(ANSWER, alone=True)
    await run_a_little()
    assert not turns
    clock.now += 3
    poll.expect(REQUEST, alone=True)
    await run_a_little()
    assert turns


async def test_what_is_done_between_meeting_and_expecting_is_no_wait(clock, turns):
    poll = BusyPoll(0.5)
    clock.now += 0.1
    poll.met()
    clock.now += 3  # the replica computes
    poll.expect(REQUEST, alone=True)
    await run_a_little()
    assert turns


async def test_under_load_nobody_stays_awake(clock, turns):
    poll = BusyPoll(0.5)
    poll.expect(REQUEST, alone=True)
    poll.expect(REQUEST, alone=False)
    await run_a_little()
    assert not turns


@pytest.mark.parametrize(("seconds", "processors"), [(0.0, {0, 1}), (0.5, {3})])
async def test_without_a_time_or_a_second_processor_the_loop_sleeps(
    clock, turns, monkeypatch, seconds, processors
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: processors)
    poll = BusyPoll(seconds)
    poll.met()
    poll.expect(REQUEST, alone=True)
    await run_a_little()
    assert not turns


async def test_the_loop_does_its_other_work_meanwhile():
    poll = BusyPoll(300)
    poll.expect(REQUEST, alone=True)
    begun = time.monotonic()
    await asyncio.sleep(0.001)
    assert time.monotonic() - begun < 60
