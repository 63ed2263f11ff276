"""The smallest shift that a law finds."""

import numpy as np
import pytest

from monitors.alarms.cell import Cell
from monitors.alarms.law import StreamLaw
from monitors.alarms.reference import ReferenceMoments
from monitors.alarms.sensitivity import smallest_shift


def test_it_is_threshold_plus_power_in_standard_errors():
    found = smallest_shift(
        variance=np.array([[0.01], [0.0001]]),
        threshold=np.array([[5.0], [5.0]]),
        duration=np.array([600.0, 86400.0]),
        unit=np.array([3.0]),
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


def test_it_refuses_a_power_of_one():
    one = np.ones((1, 1))
    with pytest.raises(ValueError, match="between 0 and 1"):
        smallest_shift(variance=one, threshold=one, duration=one[0], unit=one[0], power=1.0)


def test_a_law_finds_within_a_day_what_it_says_it_finds():
    k, rng = 40, np.random.default_rng(5)
    law = StreamLaw(
        k, ReferenceMoments(mean=np.zeros(k), variance=np.ones(k), n=np.full(k, 1e5)), rate=1.0
    )

    def show(mean, at):
        return law.observe(
            Cell(
                first=600.0 * at,
                last=600.0 * at + 599,
                n=1000,
                counts=np.full(k, 1000.0),
                sums=mean * 1000,
                squares=(mean**2 + 1) * 1000,
            ),
            600.0 * at,
        )

    for at in range(144 * 12):
        show(rng.normal(0, 1 / np.sqrt(1000), k), at)
    says = law.sensitivity()
    assert says.sd[0].max() < 0.5
    assert says.sd[2].max() <= says.sd[0].max()
    told = np.zeros(k, bool)
    for at in range(144 * 12, 144 * 12 + 7):
        told |= show(rng.normal(0, 1 / np.sqrt(1000), k) + says.sd[0], at).alarm
    assert told.mean() >= 0.8
