"""The smallest shift that a law finds: stated, and found in simulated streams."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from scipy.stats import binom

from monitors.alarms.cell import Cell
from monitors.alarms.law import StreamLaw
from monitors.alarms.reference import ReferenceMoments
from monitors.alarms.sensitivity import Shares, smallest_shift

ONE = np.ones((1, 1))
INTERVAL, ROWS, STREAMS = 600.0, 1000, 150
HOUR, DAY = 6, 144
"""Windows of each."""


def test_it_is_threshold_plus_power_in_standard_errors():
    found = smallest_shift(
        variance=np.array([[0.01], [0.0001]]),
        threshold=np.array([[5.0], [5.0]]),
        duration=np.array([600.0, 43200.0]),
        unit=np.array([3.0]),
        horizons=(1200.0, 86400.0),
    )
    assert found.sd[0, 0] == pytest.approx((5 + 1.2816) * 0.1, rel=1e-4)
    assert found.sd[1, 0] == pytest.approx((5 + 1.2816) * 0.01, rel=1e-4)
    np.testing.assert_allclose(found.unit, found.sd * 3)


def test_more_time_never_finds_less():
    rng = np.random.default_rng(0)
    found = smallest_shift(
        variance=rng.random((5, 7)),
        threshold=np.full((5, 7), 4.0),
        duration=600.0 * np.array([1, 2, 6, 36, 144]),
        unit=np.ones(7),
    )
    assert (np.diff(found.sd, axis=0) <= 0).all()


def test_nothing_is_found_before_a_window_is_sure_to_have_it_all():
    found = smallest_shift(
        variance=ONE, threshold=ONE, duration=np.array([3600.0]), unit=ONE[0],
        horizons=(3600.0, 7200.0),
    )  # fmt: skip
    assert np.isinf(found.sd[0, 0])
    assert np.isfinite(found.sd[1, 0])


def test_what_counts_as_an_outlier_is_found_by_the_shortest_scale_alone():
    both = {"variance": np.full((2, 1), 0.01), "threshold": np.array([[9.0], [3.0]])}
    of_times = {"duration": np.array([600.0, 1200.0]), "unit": np.ones(1), "horizons": (1e6,)}
    free = smallest_shift(**both, **of_times)
    bounded = smallest_shift(**both, **of_times, reach=np.array([0.4]))
    assert free.sd[0, 0] == pytest.approx(0.428, rel=1e-2)
    assert bounded.sd[0, 0] == pytest.approx(1.028, rel=1e-2)


def test_what_forecasts_follow_is_harder_to_see():
    free, followed = (
        smallest_shift(
            variance=ONE, threshold=ONE, duration=np.ones(1), unit=ONE[0], followed=each
        ).sd
        for each in (0.0, 1.0)
    )
    np.testing.assert_allclose(followed, free / 0.7)


def test_rare_shares_must_grow_by_more_and_none_beyond_all_rows():
    found = smallest_shift(
        variance=np.full((1, 3), 1e-3),
        threshold=np.full((1, 3), 5.0),
        duration=np.array([600.0]),
        unit=np.sqrt(np.array([0.25, 0.001 * 0.999, 1e-9])),
        shares=Shares(np.array([True, True, True]), np.array([0.5, 0.001, 1e-9])),
        horizons=(1e6,),
    )
    plain = (5 + 1.2816) * np.sqrt(1e-3)
    assert found.sd[0, 0] == pytest.approx(plain, rel=0.02)
    assert found.sd[0, 1] > 1.5 * plain
    assert found.unit[0, 2] <= 1


def test_it_refuses_a_power_of_one():
    with pytest.raises(ValueError, match="between 0 and 1"):
        smallest_shift(variance=ONE, threshold=ONE, duration=ONE[0], unit=ONE[0], power=1.0)


class Stream:
    """150 streams of means, independent or an AR(1), shown to a law for some days."""

    def __init__(self, phi: float, sd: float, share: float = 0.0, days: int = 14) -> None:
        self.rng = np.random.default_rng(20)
        self.phi, self.sd, self.share = phi, sd, share
        self.slow = self.rng.normal(0, sd, STREAMS)
        mean = np.full(STREAMS, share)
        variance = mean * (1 - mean) if share else np.ones(STREAMS)
        n = np.full(STREAMS, 1e5)
        reference = ReferenceMoments(mean=mean, variance=variance, n=n)
        self.law = StreamLaw(STREAMS, reference, rate=6.0, interval=INTERVAL)
        self.at = 0
        for _ in range(days * DAY):
            self.show(0.0)

    def show(self, shift: np.ndarray | float) -> np.ndarray:
        rng, kept = self.rng, np.sqrt(1 - self.phi**2)
        self.slow = self.phi * self.slow + rng.normal(0, self.sd * kept, STREAMS)
        if self.share:
            sums = rng.binomial(ROWS, self.share + shift, STREAMS).astype(float)
            squares = sums
        else:
            mean = self.slow + shift + rng.normal(0, 1 / np.sqrt(ROWS), STREAMS)
            sums, squares = mean * ROWS, (mean**2 + 1) * ROWS
        first = INTERVAL * self.at
        self.at += 1
        cell = Cell(
            first=first, last=first + INTERVAL - 1, n=ROWS, counts=np.full(STREAMS, float(ROWS)),
            sums=sums, squares=squares,
        )  # fmt: skip
        return self.law.observe(cell, cell.last).alarm

    def found(self, shift: np.ndarray, windows: int) -> int:
        """Streams that are found within so many windows; each shift begins within the first."""
        twin = copy.deepcopy(self)
        begins = twin.rng.random(STREAMS)
        told = twin.show(shift * begins)
        for _ in range(windows - 1):
            told |= twin.show(shift)
        return int(told.sum())


LEAST = int(binom.ppf(0.005, STREAMS, 0.9))
"""Found less often, 90 % would be refuted; a chance of 1 in 200 for each test."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((0.0, 0.0, 0.0), id="independent"),
        pytest.param((0.8, 0.08, 0.0), id="ar"),
        pytest.param((0.0, 0.0, 0.01), id="rare-share"),
    ],
)
def stream(request: pytest.FixtureRequest) -> Stream:
    return Stream(*request.param)


@pytest.mark.parametrize(("at", "windows"), [(0, HOUR), (1, DAY)], ids=["hour", "day"])
def test_shifts_of_the_stated_size_are_found_and_much_smaller_ones_are_not(stream, at, windows):
    stated = stream.law.sensitivity().unit[at]
    assert np.isfinite(stated).all()
    assert stream.found(stated, windows) >= LEAST
    assert stream.found(stated / 2, windows) < STREAMS / 2


def test_gross_shifts_of_the_stated_size_are_found_on_the_first_day():
    stream = Stream(0.0, 0.0, 0.01, days=0)
    for _ in range(40):
        stream.show(0.0)
    stated = stream.law.sensitivity().unit[0]
    assert stated.max() < 0.2
    assert stream.found(stated, HOUR) >= LEAST
    assert stream.found(stated / 2, HOUR) < STREAMS / 2
