"""Budgets and levels."""

import pytest

from monitors.alarms.budget import Budget, level


def test_tickets_and_infos_follow_from_pages():
    budget = Budget(2.0)
    assert [budget.of(worth) for worth in ("page", "ticket", "info")] == [2, 6, 24]


def test_monitors_share_the_budget_of_the_severity_that_they_can_raise():
    rates = Budget().rates({"quality": "page", "accuracy": "page", "fairness": "ticket"})
    assert rates == {"quality": 0.5, "accuracy": 0.5, "fairness": 3.0}


def test_levels_add_up_to_the_rate():
    scales = (1, 2, 6)
    quarter = 90 * 86400
    total = sum(
        level(3.0, streams=30, scales=3, interval=600, stride=stride) * 30 * quarter / 600 / stride
        for stride in scales
    )
    assert total == pytest.approx(3.0)


def test_windows_that_last_longer_than_a_quarter_are_one_look():
    assert level(0.01, 1, 1, 1e9, 1) == 0.01


@pytest.mark.parametrize("wrong", [0, -1, float("inf"), float("nan")])
def test_a_budget_is_a_positive_number(wrong):
    with pytest.raises(ValueError, match="positive"):
        Budget(wrong)
