"""What is played when, and how many rows come until then."""

from __future__ import annotations

import pytest

from serving.demo.traffic.schedule import AMPLITUDE, CONCEPT, DRIFT, FAIRNESS, Day, clock


def test_changes_follow_each_other_after_a_clean_part():
    day = Day()
    played = [day.at(hour) for hour in (0, 7.9, 8, 11.9, 12, 16, 23.9)]
    assert played == [None, None, DRIFT, DRIFT, FAIRNESS, CONCEPT, CONCEPT]


def test_hours_go_with_the_time():
    day = Day(seconds=48, begins=6)
    assert (day.hour(0), day.hour(2), day.hour(36)) == (6, 7, 24)


def test_a_day_has_its_rows_and_most_of_them_by_day():
    day = Day(seconds=100, rows_per_s=10)
    assert day.rows == 1000
    of_hour = [day.rows_until(hour + 1) - day.rows_until(hour) for hour in range(24)]
    assert min(of_hour) == pytest.approx(1000 / 24 * (1 - AMPLITUDE), rel=0.02)
    assert of_hour.index(min(of_hour)) in (3, 4)
    assert of_hour.index(max(of_hour)) in (15, 16)


def test_a_part_of_a_day_has_its_part_of_the_rows():
    rows = Day(begins=0, ends=12).rows + Day(begins=12, ends=24).rows
    assert abs(rows - Day().rows) <= 1  # of which a part each lies on both sides


def test_the_last_labels_come_in_the_night():
    assert Day(label_delay_h=2, push_every_h=1).last_push == 27
    assert (clock(8.25), clock(25.5), clock(23.999)) == ("08:15", "01:30", "00:00")
