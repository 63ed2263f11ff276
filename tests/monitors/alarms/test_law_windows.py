"""What windows under a law say of themselves."""

from __future__ import annotations

import numpy as np
import pytest

from monitors.alarms.cell import Cell
from monitors.alarms.law import StreamLaw
from monitors.alarms.law_windows import LawWindows, WindowSettings
from monitors.alarms.reference import ReferenceMoments
from monitors.watched import Item

NAMED = [Item(metric="psi", subject="x"), Item(metric="psi", subject="kind")]


def windows() -> LawWindows:
    reference = ReferenceMoments(
        mean=np.array([0.0, 0.5]), variance=np.array([1.0, 0.25]), n=np.full(2, 1e4)
    )
    settings = WindowSettings(window=100, window_s=3600.0, rate=6.0)
    return LawWindows(StreamLaw(2, reference, settings.rate), settings)


def show(made: LawWindows, number: int, apart: float) -> None:
    rng = np.random.default_rng(number)
    for at in range(number):

        def cell(span: tuple[float, float], rows: int) -> Cell:
            sums = np.array([rng.normal(0, 10), rng.binomial(100, 0.5)])
            squares = np.array([100.0, sums[1]])
            return Cell(first=span[0], last=span[1], n=rows, counts=np.full(2, 100.0), sums=sums,
                        squares=squares)  # fmt: skip

        made.current.add(100, at * apart, lambda part: None, lambda: made.decide(cell))


def test_before_two_windows_nobody_knows_what_is_seen():
    made = windows()
    show(made, 1, 60.0)
    (first, _) = made.items(NAMED)
    assert made.interval is None
    assert (first.sees, first.factor) == ({}, None)
    assert first.false_alarms == 3.0
    assert first.basis


def test_the_pace_is_that_of_the_latest_windows_and_outlives_a_restart():
    made = windows()
    show(made, 50, 60.0)
    assert made.interval == pytest.approx(60.0)
    again = windows()
    again.restore(made.state())
    assert again.interval == made.interval
    assert again.items(NAMED) == made.items(NAMED)


def test_means_are_told_in_standard_deviations_and_shares_in_shares():
    made = windows()
    show(made, 50, 60.0)
    (mean, share) = made.items(NAMED)
    assert (mean.unit, share.unit) == ("sd", "share")
    assert mean.sees[3600.0] > 0
    assert 0 < share.sees[86400.0] < 0.5
    told = made.watched((mean, share), "a reference")
    assert (told.window, told.window_s, told.streams) == (100, 3600.0, 2)
    assert told.false_alarms == 6.0


def test_slow_traffic_sees_nothing_within_an_hour():
    made = windows()
    show(made, 10, 3000.0)
    (mean, _) = made.items(NAMED)
    assert 3600.0 not in mean.sees
    assert 86400.0 in mean.sees
