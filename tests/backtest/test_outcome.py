"""Pages of a period without faults are put into words, with an interval."""

import pytest

from serving.backtest.outcome import Outcome
from serving.backtest.words import false_pages, headline

DAY = 86_400.0


@pytest.fixture
def outcome(make_incident):
    def make(days, *severities):
        incidents = tuple(make_incident(severity=each) for each in severities)
        return Outcome(
            model="m", versions=("1",), rows=10, labels=0, first=0.0, last=days * DAY,
            incidents=incidents, figures=(), notes=(),
        )  # fmt: skip

    return make


# The intervals are those of Garwood's table: 0 events 0 to 3.689, 3 events 0.6187 to 8.767.
def test_no_page_bounds_false_pages_from_above(outcome):
    found = outcome(90).false_pages(1)
    assert (found.pages, found.per_quarter, found.low) == (0, 0, 0)
    assert found.high == pytest.approx(3.6889, abs=1e-3)
    assert "fewer than 3.7" in false_pages(outcome(90, "info"), 1)


def test_pages_are_a_rate_with_an_interval(outcome):
    found = outcome(45, "page", "ticket", "page", "page").false_pages(1)
    assert found.per_quarter == pytest.approx(6)
    assert (found.low, found.high) == pytest.approx((2 * 0.6187, 2 * 8.7673), abs=1e-3)
    assert "3 pages in 45 days" in false_pages(outcome(45, "page", "page", "page"), 1)


def test_incidents_are_counted_by_severity(outcome):
    said = headline(outcome(1, "page", "ticket", "ticket", "info"))
    assert "1 page, 2 tickets, 1 info" in said


def test_a_period_of_one_moment_has_a_rate(outcome):
    assert outcome(0).false_pages(1).high > 0
