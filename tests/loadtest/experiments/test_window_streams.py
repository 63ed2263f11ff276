"""Streams whose dependence is known, and what an oracle makes of it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from loadtest.experiments.window_streams import DAY, ROWS, STREAMS

BY_NAME = {stream.name: stream for stream in STREAMS}


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_an_oracle_knows_more_with_every_window_and_never_more_than_of_independent_rows(stream):
    drawn = stream.draw(np.random.default_rng(0), DAY, 3)
    assert drawn.shape == (DAY, 3)
    assert np.isfinite(drawn).all()
    information = stream.information(4 * DAY, 3, 0.2)
    assert (np.diff(information) > 0).all()
    rows = stream.rows(4 * DAY + 3)[4 * DAY :]
    assert (information <= np.cumsum(rows) * 0.2**2 * 1.001).all()


def test_of_independent_rows_it_is_their_number_times_the_squared_shift():
    information = BY_NAME["independent"].information(3 * DAY, 4, 0.5)
    assert_allclose(information, ROWS * 0.25 * np.arange(1, 5))


def test_rows_that_come_five_times_are_worth_a_fifth():
    information = BY_NAME["each row 5 times"].information(3 * DAY, 4, 0.5)
    assert_allclose(information, ROWS * 0.05 * np.arange(1, 5))


def test_windows_vary_as_stated():
    rng = np.random.default_rng(1)
    drawn = BY_NAME["AR(1) .8, windows, .1 sd"].draw(rng, 20 * DAY, 20)
    assert drawn.var() == pytest.approx(0.01 + 1 / ROWS, rel=0.1)
    grown = BY_NAME["traffic grows tenfold, rows 3 times"].rows(90 * DAY)
    assert grown[-1] / grown[0] == pytest.approx(10, rel=0.01)
