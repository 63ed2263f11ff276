"""Ids of records are UUIDv7 and only grow, whatever the clock does."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.dataplane.hooks.record_ids import RecordIds, new_record_id

MS = 1_000_000


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=50))
def test_they_grow_although_the_clock_stands_or_goes_back(steps: list[int]) -> None:
    now = 1_700_000_000_000 * MS

    def clock() -> int:
        return now

    ids = RecordIds(clock)
    made = []
    for step in steps:
        now += step * MS
        made += [ids.new() for _ in range(50)]
    assert made == sorted(set(made))


def test_they_are_what_the_standard_says() -> None:
    before = time.time_ns() // MS
    made = [uuid.UUID(bytes=new_record_id()) for _ in range(2000)]
    # More than 2048 within one of its milliseconds would let the time in them run ahead.
    after = time.time_ns() // MS + 1
    assert all(before <= each.int >> 80 <= after for each in made)
    assert {(each.version, each.variant) for each in made} == {(7, uuid.RFC_4122)}
    assert len({each.int & (1 << 62) - 1 for each in made}) == len(made)


def test_more_than_fit_into_a_millisecond_go_into_the_next() -> None:
    ids = RecordIds(lambda: 5 * MS, lambda size: b"\xff" * size)
    made = [int.from_bytes(ids.new(), "big") for _ in range(3000)]
    assert made == sorted(set(made))
    assert [made[0] >> 80, made[-1] >> 80] == [5, 6]


def test_a_forked_child_draws_anew() -> None:
    drawn: Iterator[int] = iter(range(1, 100))
    ids = RecordIds(lambda: 5 * MS, lambda size: bytes([next(drawn)]) * size)
    parent = ids.new()
    ids.forget()
    assert ids.new()[9:] != parent[9:]
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, new_record_id())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 16)[8:] != new_record_id()[8:]
