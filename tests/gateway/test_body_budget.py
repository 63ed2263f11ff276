"""The account of bodies: what is charged is given back once, whatever happens in between."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import Overloaded, PayloadTooLarge
from serving.gateway.body_budget import SMALL, BodyBudget, BodySeries, Share
from serving.telemetry.counters import SeriesSet

MIB = 1 << 20


class Holder(msgspec.Struct):
    charged: int = 0


def test_large_bodies_leave_room_for_small_ones() -> None:
    budget = BodyBudget(8 * MIB, MIB)
    holders = [Holder() for _ in range(8)]
    assert [budget.cover(holder, MIB) for holder in holders] == [True] * 7 + [False]
    small = [Holder() for _ in range(17)]
    assert [budget.cover(holder, SMALL) for holder in small] == [True] * 16 + [False]
    assert (budget.held, budget.refused) == (8 * MIB, 2)
    budget.release(holders[0])
    assert not budget.cover(holders[7], MIB)
    budget.release(holders[1])
    assert budget.cover(holders[7], MIB)


def test_the_largest_body_fits_into_an_empty_budget() -> None:
    budget = BodyBudget(MIB, MIB)
    assert budget.cover(Holder(), MIB + 5)  # with the prefix of a gRPC message
    assert not budget.cover(Holder(), 1)


def test_a_body_that_grows_is_charged_once() -> None:
    budget, holder = BodyBudget(MIB, 1000), Holder()
    for size in (100, 100, 50, 700):
        assert budget.cover(holder, size)
    assert (holder.charged, budget.held) == (700, 700)
    budget.give_back(holder, 300)
    budget.give_back(holder, 5000)
    budget.release(holder)
    assert (holder.charged, budget.held) == (0, 0)


@pytest.mark.parametrize("counted", [True, False])
def test_an_app_counts_what_the_server_in_front_does_not(counted: bool) -> None:
    budget = BodyBudget(MIB, 1000)
    share = Share(budget, counted=counted)
    share.receives(900)
    share.receives(400)
    share.add(50)
    assert budget.held == (50 if counted else 950)
    share.end()
    share.add(70)  # by what is still under way
    share.receives(2000)
    assert budget.held == 0


def test_who_finds_no_room_is_told_to_come_back() -> None:
    budget = BodyBudget(MIB, 1000)
    assert budget.cover(Holder(), MIB - MIB // 8)
    share = Share(budget, counted=False)
    for charge in (share.receives, share.add):
        with pytest.raises(Overloaded, match=r"listen\.max_inflight_mib.*retry later") as refused:
            charge(200_000)
        assert refused.value.retry_after_s == 1
    assert (share.charged, budget.refused) == (0, 2)


def test_what_never_fits_is_not_told_to_come_back() -> None:
    share = Share(BodyBudget(1000, 1000), counted=True)
    share.require(1000)
    with pytest.raises(PayloadTooLarge, match="unpacks to"):
        share.require(1200)


OPERATIONS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from(["cover", "give_back", "release", "receives", "add", "end"]),
        st.integers(0, 60_000),
    ),
    max_size=60,
)


@given(OPERATIONS)
def test_the_account_is_the_sum_of_what_everybody_has(operations: Any) -> None:
    budget = BodyBudget(100_000, 50_000)
    holders: list[Any] = [Holder(), Holder(), Share(budget, counted=False), Holder(),
                          Share(budget, counted=True)]  # fmt: skip
    for at, what, size in operations:
        holder = holders[at]
        before = budget.held
        try:
            if isinstance(holder, Share) and what in ("receives", "add", "give_back"):
                getattr(holder, what)(size)
            elif isinstance(holder, Share):
                holder.end()
            elif what == "release":
                budget.release(holder)
            else:
                getattr(budget, "give_back" if what == "give_back" else "cover")(holder, size)
        except Overloaded:
            assert budget.held == before
        assert budget.held == sum(each.charged for each in holders) <= budget.most
    for holder in holders:
        holder.end() if isinstance(holder, Share) else budget.release(holder)
    assert budget.held == 0


def test_metrics() -> None:
    series = SeriesSet()
    budget = BodyBudget(MIB, 1000)
    shown = BodySeries(budget, series)
    assert budget.cover(Holder(), 500)
    assert not budget.cover(Holder(), 2 * MIB)
    for _ in range(2):  # a report must not count twice
        shown.update()
        assert {each.name: each.value for each in series.snapshot()} == {
            "vigil.body.held": 500, "vigil.body.refused": 1,
        }  # fmt: skip
