"""Gross changes."""

import numpy as np
import pytest

from monitors.alarms.gross import gross
from monitors.alarms.reference import ReferenceMoments
from monitors.alarms.units import Units


def told(mean, variance, seen, rows, critical=5.0):
    reference = ReferenceMoments(
        mean=np.array([mean]), variance=np.array([variance]), n=np.array([5000.0])
    )
    units = Units(reference)
    raw = (np.array([seen]) - units.mean) / units.sd
    return bool(gross(raw, np.array([float(rows)]), np.zeros(1), units, critical)[0])


@pytest.mark.parametrize(
    ("shift", "rows", "expected"),
    [
        (0.5, 1000, False),
        (0.9, 1000, False),
        (1.0, 1000, True),
        (1.3, 100, False),
        (-1.4, 100, True),
    ],
)
def test_of_a_mean_it_is_a_matter_of_standard_deviations_and_rows(shift, rows, expected):
    assert told(2.0, 1.0, 2.0 + shift, rows) is expected


@pytest.mark.parametrize(
    ("events", "rows", "expected"),
    [(1, 50, False), (5, 50, False), (15, 500, False), (50, 1000, True), (100, 100, True)],
)
def test_of_a_rare_share_events_have_to_be_improbable_even_if_they_come_three_times(
    events, rows, expected
):
    rare = 1e-4
    assert told(rare, rare * (1 - rare), events / rows, rows) is expected
