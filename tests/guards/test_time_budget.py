"""When a guard that is late is skipped, and when it is tried again."""

from __future__ import annotations

from guards.time_budget import FIRST_PAUSE_NS, LONGEST_PAUSE_NS, MOST_LATE, TimeBudget


def test_only_lateness_in_a_row_pauses() -> None:
    budget = TimeBudget(10)
    for _ in range(20):
        for _ in range(MOST_LATE - 1):
            assert budget.exceeded(100) == 0
        budget.kept()
    assert budget.resume_ns == 0


def test_a_pause_doubles_while_the_first_check_after_it_is_late() -> None:
    budget, now = TimeBudget(10), 100
    pauses = [budget.exceeded(now) for _ in range(MOST_LATE)]
    assert pauses == [0] * (MOST_LATE - 1) + [FIRST_PAUSE_NS]
    while pauses[-1] < LONGEST_PAUSE_NS:
        now = budget.resume_ns
        pauses.append(budget.exceeded(now))
        assert (pauses[-1], budget.resume_ns) == (2 * pauses[-2], now + pauses[-1])
    assert budget.exceeded(now) == LONGEST_PAUSE_NS


def test_one_check_in_time_forgives_all() -> None:
    budget = TimeBudget(10)
    for _ in range(MOST_LATE + 3):
        budget.exceeded(100)
    budget.kept()
    assert (budget.resume_ns, budget.late) == (0, 0)
    assert [budget.exceeded(5) for _ in range(MOST_LATE)][-1] == FIRST_PAUSE_NS
