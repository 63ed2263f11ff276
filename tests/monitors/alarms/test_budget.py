"""Budgets and levels."""

import pytest

from monitors.alarms.budget import level


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
