"""Halves that come apart: joined in either order, within bounds of time and memory, all counted."""

from __future__ import annotations

import pytest

from serving.dataplane.observing.pairing import (
    DUPLICATE,
    FULL,
    UNPAIRED,
    Half,
    Limits,
    Pairing,
    Side,
)

A, B, C = Half(b"a" * 100), Half(b"b" * 100), Half(b"c" * 100)


class Dropped(dict[str, int]):
    def add(self, reason: str, halves: int) -> None:
        self[reason] = self.get(reason, 0) + halves


@pytest.fixture
def dropped() -> Dropped:
    return Dropped()


def pairing(dropped: Dropped, **limits: float) -> Pairing:
    return Pairing(dropped.add, Limits(**limits))  # type: ignore[arg-type]


@pytest.mark.parametrize("first", ["request", "response"])
def test_halves_are_joined_in_either_order(dropped: Dropped, first: Side) -> None:
    pairs = pairing(dropped)
    second: Side = "response" if first == "request" else "request"
    assert pairs.add(("1",), first, A, 0.0) is None
    assert len(pairs) == 1
    assert pairs.bytes > 100
    assert pairs.add(("1",), second, B, 59.0) == ((A, B) if first == "request" else (B, A))
    assert (len(pairs), pairs.bytes, dropped) == (0, 0, {})


def test_halves_of_different_keys_are_never_joined(dropped: Dropped) -> None:
    pairs = pairing(dropped)
    assert pairs.add(("1", "x"), "request", A, 0.0) is None
    assert pairs.add(("1", "y"), "response", B, 0.0) is None
    assert len(pairs) == 2


def test_a_half_without_its_partner_is_dropped_after_a_minute(dropped: Dropped) -> None:
    pairs = pairing(dropped)
    pairs.add(("1",), "request", A, 0.0)
    pairs.add(("2",), "request", A, 1.0)
    assert pairs.next_expiry() == 60.0
    pairs.expire(59.9)
    assert dropped == {}
    assert pairs.add(("1",), "response", B, 60.0) is None  # too late, and waits in its turn
    assert dropped == {UNPAIRED: 1}
    pairs.expire(200.0)
    assert dropped == {UNPAIRED: 3}
    assert (len(pairs), pairs.bytes, pairs.next_expiry()) == (0, 0, None)


def test_what_comes_twice_counts_once(dropped: Dropped) -> None:
    pairs = pairing(dropped)
    pairs.add(("1",), "request", A, 0.0)
    assert pairs.add(("1",), "request", C, 1.0) is None
    assert pairs.add(("1",), "response", B, 2.0) == (A, B)  # the one that came first
    for side in ("request", "response"):
        assert pairs.add(("1",), side, A, 3.0) is None  # type: ignore[arg-type]
    assert (dropped, len(pairs)) == ({DUPLICATE: 3}, 0)


def test_pairs_are_remembered_for_a_minute_only(dropped: Dropped) -> None:
    pairs = pairing(dropped)
    for now in (0.0, 62.0):
        pairs.add(("1",), "request", A, now)
        assert pairs.add(("1",), "response", B, now) == (A, B)
    assert dropped == {}
    assert pairs.next_expiry() == 122.0


def test_what_waited_longest_makes_room(dropped: Dropped) -> None:
    pairs = pairing(dropped, bytes=1400)
    for key in "123":
        pairs.add((key,), "request", A, 0.0)
    assert (len(pairs), dropped) == (2, {FULL: 1})
    assert pairs.bytes <= 1400
    assert pairs.add(("1",), "response", B, 0.0) is None
    assert pairs.add(("3",), "response", B, 0.0) == (A, B)


def test_the_number_of_halves_and_of_remembered_pairs_is_bounded(dropped: Dropped) -> None:
    pairs = pairing(dropped, halves=2)
    for key in "123":
        pairs.add((key,), "request", Half(b""), 0.0)
    assert (len(pairs), dropped) == (2, {FULL: 1})
    for key in "abc":
        pairs.add((key,), "request", A, 0.0)
        pairs.add((key,), "response", B, 0.0)
    dropped.clear()
    pairs.add(("c",), "request", A, 0.0)
    assert dropped == {DUPLICATE: 1}
    pairs.add(("a",), "request", A, 0.0)  # forgotten, so that keys of pairs are bounded
    assert dropped == {DUPLICATE: 1}


def test_a_half_larger_than_the_bound_drops_nobody_else(dropped: Dropped) -> None:
    pairs = pairing(dropped, bytes=1400)
    pairs.add(("1",), "request", A, 0.0)
    assert pairs.add(("2",), "request", Half(b"x" * 1400), 0.0) is None
    assert (len(pairs), dropped) == (1, {FULL: 1})


def test_what_waits_at_the_end_is_counted(dropped: Dropped) -> None:
    pairs = pairing(dropped)
    pairs.add(("1",), "request", A, 0.0)
    pairs.clear()
    assert (len(pairs), pairs.bytes, dropped) == (0, 0, {UNPAIRED: 1})
