"""Which requests leave together: alike, in order, within bounds, wanted and in time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.dataplane.queue.fair_queue import FairQueue
from serving.dataplane.queue.taking import take_alike
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending


class Future:
    """What is asked of a request's future here."""

    def __init__(self, done: bool) -> None:
        self._done = done

    def done(self) -> bool:
        return self._done


class Timer:
    def __init__(self, when: float) -> None:
        self._when = when

    def when(self) -> float:
        return self._when


def item(
    rows: int = 1, width: int = 2, *, done: bool = False, due: float = 0.0, alone: bool = False
) -> Pending:
    array = np.zeros((rows, width), np.float32)
    bound = Bound((array,), rows, ((width,),), (), None, b"", alone)
    future: Any = Future(done)
    made = Pending("", bound, future, 0.0)
    if due:
        timer: Any = Timer(due)
        made.timer = timer
    return made


def take(
    waiting: Any, most: int = 100, most_bytes: int = 1 << 20, lost_before: float = 0.0
) -> tuple[list[Pending], int, list[Pending]]:
    return take_alike(waiting, most, most_bytes, lost_before)


ITEMS = st.lists(st.tuples(st.integers(1, 5), st.integers(2, 4), st.booleans()), max_size=20)


@given(ITEMS, st.integers(1, 9), st.sampled_from([deque, FairQueue]))
def test_nobody_is_lost_and_all_of_a_batch_are_alike(
    asked: list[tuple[int, int, bool]], most: int, kind: Any
) -> None:
    items = [item(rows, width, done=done) for rows, width, done in asked]
    waiting = kind(items)
    order = list(waiting)
    left: list[Pending] = []
    gone: list[Pending] = []
    while waiting:
        head = next((one for one in waiting if not one.future.done()), None)
        taken, rows, dropped = take(waiting, most)
        assert rows == sum(one.bound.rows for one in taken)
        assert rows <= most or len(taken) == 1
        assert len({one.bound.key for one in taken}) <= 1
        assert taken[:1] == ([] if head is None else [head])
        left += taken
        gone += dropped
    assert [one for one in order if one.future.done()] == [one for one in order if one in gone]
    for width in (2, 3, 4):  # those that are alike keep their order
        alike = [one for one in order if one.bound.key == ((width,),) and one not in gone]
        assert [one for one in left if one.bound.key == ((width,),)] == alike
    assert len(left) + len(gone) == len(items)


def test_what_does_not_fit_stays_first() -> None:
    items = [item(2), item(1, 3), item(2), item(1)]
    waiting = deque(items)
    taken, rows, dropped = take(waiting, 3)
    assert (taken, rows, dropped) == ([items[0]], 2, [])
    assert list(waiting) == items[1:]


def test_bytes_bound_a_batch_as_rows_do_and_never_keep_the_first() -> None:
    items = [item(3, 5), item(2, 5), item(1, 5)]  # 20 bytes a row
    waiting = deque(items)
    assert take(waiting, most_bytes=100)[0] == items[:2]
    assert take(deque(items), most_bytes=1)[0] == items[:1]


def test_who_goes_alone_shares_with_nobody() -> None:
    first, alone, last = item(), item(alone=True), item()
    waiting = deque([first, alone, last])
    assert take(waiting)[0] == [first, last]
    assert take(waiting)[0] == [alone]
    waiting = deque([alone, first])
    assert take(waiting)[0] == [alone]


@pytest.mark.parametrize(("lost_before", "dropped"), [(0.0, 0), (5.0, 1), (6.0, 2)])
def test_whose_deadline_cannot_be_kept_is_dropped(lost_before: float, dropped: int) -> None:
    items = [item(due=4.0), item(due=5.0), item(), item(due=9.0)]
    taken, rows, gone = take(deque(items), lost_before=lost_before)
    assert gone == items[:dropped]
    assert taken == items[dropped:]
    assert rows == 4 - dropped


async def test_a_request_that_is_answered_is_dropped() -> None:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.cancel()
    gone = Pending("", item().bound, future, 0.0)
    stays = item()
    assert take(deque([gone, stays])) == ([stays], 1, [gone])
