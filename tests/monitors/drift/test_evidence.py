import numpy as np
import pytest

from monitors.alarms.decisions import Decisions
from monitors.drift.evidence import Decided, histogram, rounded
from monitors.drift.features.vector import Stream
from monitors.reference.profile import ReferenceProfile
from monitors.reference.row_codes import Track


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.float64(0.123456), 0.1235),
        (123456.0, 123500.0),
        (np.nan, None),
        ([1.23456, np.inf], [1.235, None]),
        ("text", "text"),
        (12345, 12345),
    ],
)
def test_figures_are_shown_with_few_digits(value, shown):
    assert rounded(value) == shown


def test_a_histogram_of_numbers_counts_what_is_no_number_apart():
    values = np.array([np.nan, np.inf, *range(40)])
    column = ReferenceProfile.fit({"x": values}).columns["x"]
    current = np.bincount(
        column.codes(np.array([1.0, np.nan, -np.inf, 99.0])), minlength=column.bins
    )
    told = histogram(Track("x", column), current)
    assert len(told["edges"]) + 1 == len(told["reference"]) == len(told["current"])
    assert (sum(told["reference"]), sum(told["current"])) == (40, 2)
    assert told["current"][-1] == 1
    assert (told["infinite"], told["missing"]) == ([1, 1], [1, 1])


def test_a_histogram_of_categories_has_labels():
    column = ReferenceProfile.fit({"c": np.array(["a"] * 30 + ["b"] * 20)}).columns["c"]
    told = histogram(Track("c", column), np.array([1, 2, 3, 4, 5]))
    assert told == {
        "kind": "categorical",
        "labels": ["a", "b", "other", "unseen", "missing"],
        "reference": [30, 20, 0, 0, 0],
        "current": [1, 2, 3, 4, 5],
    }


def test_how_a_stream_was_decided_is_told_in_few_digits():
    some = np.array([0.123456, 7.0])
    decisions = Decisions(
        value=some, effect=some, low=some - 1, high=np.array([1.0, np.inf]), p=some,
        level=np.array(1e-7), alarm=some > 1, since=some, scale=np.array([1, 6]),
        factor=some, basis=("days", "none"),
    )  # fmt: skip
    assert Decided(decisions).of(0, Stream("x", "location")) == {
        "moved": "location", "value": 0.1235, "effect": 0.1235, "interval": [-0.8765, 1.0],
        "level": 2e-7, "windows": 1, "factor": 0.1235, "basis": "days",
    }  # fmt: skip
    assert Decided(decisions).of(1, Stream("x", "spread"))["interval"] == [6.0, None]
