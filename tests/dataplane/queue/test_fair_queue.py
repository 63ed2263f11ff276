"""The order in which clients and priorities leave a queue."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any
from unittest.mock import sentinel

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.dataplane.queue import fair_queue as turns
from serving.dataplane.queue.fair_queue import FairQueue
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending


def item(flow: Any, rows: int = 1, priority: int = 0, ident: str = "") -> Pending:
    bound = Bound((np.empty((rows, 1)),), rows, ((1,),), (), None)
    made = Pending(ident, bound, sentinel.future, 0.0, (priority, flow))
    made.priority = priority
    return made


def drain(queue: FairQueue) -> list[Pending]:
    return [queue.popleft() for _ in range(len(queue))]


ITEMS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 9), st.integers(0, 2)), max_size=40
)


@given(ITEMS, st.integers(0, 20))
def test_the_first_is_the_one_that_leaves_next(
    given_: list[tuple[str, int, int]], room: int
) -> None:
    queue = FairQueue(item(*one) for one in given_)
    if room:
        queue.push_out(item("a", room, priority=0), room)
    for _ in range(len(queue)):
        first = queue.first
        assert queue.popleft() is first


@given(ITEMS)
def test_nothing_is_lost_and_every_lane_keeps_its_order(given_: list[tuple[str, int, int]]) -> None:
    items = [item(*one) for one in given_]
    left = drain(FairQueue(items))
    assert sorted(map(id, left)) == sorted(map(id, items))
    for flow in {one.flow for one in items}:
        assert [i for i in left if i.flow == flow] == [i for i in items if i.flow == flow]
    assert [i.priority for i in left] == sorted(i.priority for i in items)


@given(ITEMS, st.integers(0, 40))
def test_what_is_put_back_leaves_as_if_it_had_stayed(
    given_: list[tuple[str, int, int]], taken: int
) -> None:
    items = [item(*one) for one in given_]
    want = drain(FairQueue(items))
    queue = FairQueue(items)
    back = [queue.popleft() for _ in range(min(taken, len(queue)))]
    queue.extendleft(reversed(back))
    assert [i.flow for i in drain(queue)] == [i.flow for i in want]


@given(st.lists(st.integers(1, 20), min_size=30, max_size=60), st.integers(1, 20))
def test_two_that_always_want_more_get_the_same_rows(flood: list[int], rows: int) -> None:
    queue = FairQueue([item("flood", n) for n in flood] + [item("other", rows) for _ in range(60)])
    got: Counter[str] = Counter()
    while len(queue) and got.total() < sum(flood):
        one = queue.popleft()
        got[one.flow[1]] += one.bound.rows
        if got["flood"] < sum(flood) and got["other"] < 60 * rows:  # both have something waiting
            assert abs(got["flood"] - got["other"]) <= 2 * max(max(flood), rows)


def test_who_comes_late_is_not_behind_the_flood_and_saves_nothing_up() -> None:
    queue = FairQueue([item("flood") for _ in range(100)])
    for _ in range(50):
        queue.popleft()
    for _ in range(10):
        queue.append(item("late"))
    first = [queue.popleft().flow[1] for _ in range(20)]
    assert Counter(first) == {"flood": 10, "late": 10}


def test_a_higher_priority_leaves_first_whenever_it_comes() -> None:
    queue = FairQueue([item("a", priority=3), item("a", priority=2)])
    queue.append(item("b", priority=1))
    assert [one.priority for one in drain(queue)] == [1, 2, 3]


def test_addresses_of_one_ipv6_network_are_one_client() -> None:
    flood = [item(f"2001:db8::{n:x}", ident="flood") for n in range(50)]
    queue = FairQueue(
        [*flood, item("2001:db8:0:1::1", ident="other"), item("no:address", ident="x")]
    )
    assert {queue.popleft().id for _ in range(4)} >= {"other", "x"}


def test_lanes_that_are_gone_are_not_kept_for_ever() -> None:
    queue = FairQueue([])
    for number in range(5 * turns.MOST_IDLE_FLOWS):
        queue.append(item(str(number)))
        queue.popleft()
    assert len(queue._flows) <= turns.MOST_IDLE_FLOWS + 2
    assert not queue._heap


# -- pushing out ------------------------------------------------------------------------------


def test_the_newest_of_the_lowest_priority_is_pushed_out() -> None:
    old, new = item("a", 2, 3, "old"), item("a", 2, 3, "new")
    queue = FairQueue([item("b", 2, 1), old, item("a", 2, 2), new])
    assert queue.push_out(item("c", 2, 2), 2) == [new]
    assert queue.push_out(item("c", 1, 2), 1) == [old]
    assert queue.push_out(item("c", 1, 3), 1) == []
    assert [one.priority for one in queue] == [1, 2]
    assert len(drain(queue)) == 2


def test_below_its_share_a_client_pushes_out_the_largest_and_above_nobody() -> None:
    flood = deque(item("flood") for _ in range(9))
    queue = FairQueue([*flood, item("small")])
    assert queue.push_out(item("flood"), 1) == []
    assert queue.push_out(item("new", 2), 2) == [flood.pop(), flood.pop()]
    assert queue.push_out(item("small", 8), 8) == []
    assert len(queue) == 8


def test_nobody_is_pushed_out_when_it_would_not_be_room_enough() -> None:
    queue = FairQueue([item("a", 3, 2), item("b", 1, 1)])
    assert queue.push_out(item("c", 9, 1), 9) == []
    assert len(queue) == 2


def test_what_was_pushed_out_is_let_go_although_its_turn_never_comes() -> None:
    queue = FairQueue([item("a", priority=1)])
    for _ in range(10 * turns.MOST_IDLE_FLOWS):  # an overload by those who go first
        queue.append(item("low", priority=2))
        assert len(queue.push_out(item("a", priority=1), 1)) == 1
        queue.append(item("a", priority=1))
        assert queue.popleft().priority == 1
    assert len(queue) == 1
    assert len(queue._heap) <= 2 + turns.MOST_IDLE_FLOWS
    assert [one.priority for one in queue] == [one.priority for one in drain(queue)] == [1]


@given(ITEMS, st.integers(1, 20), st.integers(0, 2))
def test_pushing_out_frees_what_is_needed_from_those_with_less_right(
    given_: list[tuple[str, int, int]], rows: int, priority: int
) -> None:
    items = [item(*one) for one in given_]
    queue = FairQueue(items)
    out = queue.push_out(item("b", rows, priority), rows)
    assert not out or sum(one.bound.rows for one in out) >= rows
    assert all(one.priority >= priority for one in out)
    assert all(one.flow != (priority, "b") for one in out)
    assert len(drain(queue)) == len(items) - len(out)
