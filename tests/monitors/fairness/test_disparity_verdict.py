import pytest

from monitors.fairness.disparity_verdict import disparity_verdict
from monitors.fairness.group_cells import Cell

LOW, MIDDLE, HIGH = Cell(100, 500), Cell(200, 500), Cell(400, 500)


def judge(*cells, tolerance=0.1):
    return disparity_verdict(cells, tolerance, confidence=0.99, min_rows=100)


def test_a_gap_that_chance_does_not_explain_is_a_breach():
    assert judge(LOW, HIGH) == (True, "")
    assert judge(LOW, HIGH, tolerance=0.6) == (False, "")


def test_a_gap_above_the_tolerance_that_chance_may_explain_is_none():
    assert judge(Cell(250, 500), Cell(310, 500)) == (False, "")


def test_two_groups_in_the_middle_may_be_the_ones_that_show_it():
    """The extreme ones may be too small to show anything."""
    few = Cell(0, 30), Cell(30, 30)
    assert judge(few[0], LOW, HIGH, few[1]) == (True, "")


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ((), "fewer than two groups have 20 rows"),
        ((HIGH,), "fewer than two groups have 20 rows"),
        ((LOW, Cell(60, 99)), "a group has fewer than 100 rows"),
        ((LOW, Cell(30, 99), MIDDLE), None),
    ],
)
def test_it_is_unknown_where_rows_are_lacking(cells, reason):
    verdict = judge(*cells, tolerance=0.5)
    assert verdict.breached is None
    assert verdict.reason == (reason or "a group has fewer than 100 rows")
