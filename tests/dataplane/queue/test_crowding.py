"""How full is too full, learned from what was refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.dataplane.queue.crowding import REMEMBER_S, Crowding


def test_a_queue_that_has_refused_nobody_is_never_full():
    assert not Crowding(100, 1000).full(100, 1000)


def test_it_is_full_while_one_like_the_refused_would_not_fit():
    crowding = Crowding(100, 1000)
    crowding.refused(20, 0, 5)
    assert crowding.full(81, 0)
    assert not crowding.full(80, 0)
    crowding.refused(5, 0, 5)  # the larger one is remembered
    assert crowding.full(81, 0)


def test_bytes_count_as_rows_do():
    crowding = Crowding(100, 1000)
    crowding.refused(1, 300, 5)
    assert crowding.full(0, 701)
    assert not crowding.full(0, 700)


def test_the_largest_request_does_not_close_the_queue_for_all_others():
    crowding = Crowding(100, 1000)
    crowding.refused(100, 1000, 5)
    assert not crowding.full(50, 500)
    assert crowding.full(51, 500)


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(0, 1000)), min_size=1))
def test_it_is_forgotten_at_half_and_not_before(refused):
    crowding = Crowding(100, 1000)
    for rows, size in refused:
        crowding.refused(rows, size, 5)
        assert crowding.active
    late = 5 + REMEMBER_S
    assert not crowding.eased(51, 0, late)
    assert not crowding.eased(0, 501, late)
    assert not crowding.eased(0, 0, late - 0.1)  # one batch may take all that waits
    assert not crowding.full(50, 500)
    assert crowding.eased(50, 500, late)
    assert not crowding.active
    assert not crowding.full(100, 1000)
