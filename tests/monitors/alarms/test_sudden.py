"""What single windows show."""

import numpy as np
import pytest

from monitors.alarms.reference import ReferenceMoments
from monitors.alarms.standing import Standing
from monitors.alarms.sudden import Sudden, gross
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


class Watched:
    """Streams of mean 0 and variance 1, of which the last never was anything but 0."""

    def __init__(self, streams=3, days=0.0):
        variance = np.ones(streams)
        variance[-1] = 0.0
        reference = ReferenceMoments(
            mean=np.zeros(streams), variance=variance, n=np.full(streams, 5000.0)
        )
        self.sudden = Sudden(Units(reference))
        self.standing = Standing(streams)
        self.days = np.full(streams, days)
        self.at = 0.0

    def see(self, residual, improbable=(False, False, False)):
        """Show a window; returns what is told of what is improbable, and of what is gross."""
        residual, many = np.array(residual, float), len(residual)
        self.sudden.look(residual, residual, np.full(many, 1000.0), np.zeros(many), 5.0)
        self.at += 600
        told = self.sudden.windows(
            np.array(improbable), residual, np.ones(many, bool), self.standing, self.days, self.at
        )
        return told.tolist(), self.sudden.gross(self.standing.alarm).tolist()


def test_a_gross_change_is_told_at_once_while_there_was_no_burst():
    assert Watched().see([2.0, 0.0, 0.0])[1] == [True, False, False]


def test_what_ended_by_itself_teaches_all_streams_how_long_bursts_are():
    watched = Watched()
    for _ in range(3):
        watched.see([2.0, 0.0, 0.0])
    watched.see([0.0, 0.0, 0.0])
    for _ in range(3):
        assert watched.see([0.0, 2.0, 0.0])[1] == [False, False, False]
    assert watched.see([0.0, 2.0, 0.0])[1] == [False, True, False]
    assert watched.sudden.since[1] == 600 * 5


def test_bursts_of_others_say_nothing_of_what_was_always_the_same():
    watched = Watched()
    watched.see([2.0, 0.0, 0.0])
    watched.see([0.0, 0.0, 0.0])
    assert watched.see([0.0, 2.0, 5.0])[1] == [False, False, True]


def test_an_improbable_window_counts_like_a_gross_one_until_much_is_known():
    for days, expected in ((3.0, False), (15.0, True)):
        watched = Watched(days=days)
        assert watched.see([0.4, 0.0, 0.0], (True, False, False))[0][0]
        watched.see([0.0, 0.0, 0.0])
        assert watched.see([0.0, 0.4, 0.0], (False, True, False))[0][1] is expected
        assert watched.sudden.pairs(np.array([True, True, True])).tolist()[1] is expected
        assert watched.see([0.0, 0.4, 0.0], (False, True, False))[0][1]


def test_a_change_that_lasts_for_hours_is_no_burst_to_learn_from():
    watched = Watched()
    for _ in range(50):
        watched.see([2.0, 0.0, 0.0])
    watched.see([0.0, 0.0, 0.0])
    told = [watched.see([0.0, 2.0, 0.0])[1][1] for _ in range(13)]
    assert told == [False] * 12 + [True]


def test_an_alarm_that_stands_has_not_ended_while_the_shift_is_there():
    watched = Watched()
    watched.see([2.0, 0.0, 0.0])
    watched.standing.begin(
        np.array([True, False, False]), scale=0, length=1, since=0.0, score=np.full(3, 9.0),
        expected=np.zeros(3), mean=np.array([2.0, 0.0, 0.0]),
    )  # fmt: skip
    watched.see([1.5, 0.0, 0.0])  # not improbable any more, but not back
    assert watched.see([1.5, 2.0, 0.0])[1] == [False, True, False]


def test_a_stream_without_rows_is_as_it_was():
    watched = Watched()
    watched.see([2.0, 0.0, 0.0])
    none = np.zeros(3)
    watched.sudden.look(none, none, none, none, 5.0)
    unseen = np.zeros(3, bool)
    watched.sudden.windows(unseen, none, unseen, watched.standing, watched.days, 0.0)
    assert watched.see([2.0, 0.0, 0.0])[1][0]
    assert watched.sudden.since[0] == 600
