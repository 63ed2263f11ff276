"""Streams with and without a change."""

import numpy as np
import pytest

from loadtest.experiments.quiet_streams import SHIFTS, Size, awake, quiet
from loadtest.experiments.window_streams import STREAMS, Stream


def test_it_counts_what_is_told_for_nothing_by_severity():
    size = Size(models=1, days=1, awake_models=1, known=1, horizon=1, ramps=())
    calm = Stream("calm", lambda _rng, windows, k: np.zeros((windows, k)))
    found = quiet(calm, size, 0)
    assert [found[name]["count"] for name in ("page", "ticket", "info")] == [0, 0, 0]
    assert found["info"]["high"] == pytest.approx(3.69 * 90, rel=0.01)
    assert found["first_week_info_per_model"] == 0


def test_a_stream_that_jumps_for_good_is_told_once_a_column():
    size = Size(models=1, days=1, awake_models=1, known=1, horizon=1, ramps=())
    jumping = Stream(
        "jumps", lambda _rng, windows, k: 3.0 * (np.arange(windows) >= 30)[:, None] * np.ones(k)
    )
    found = quiet(jumping, size, 0)
    assert found["info"]["count"] == 30
    assert found["first_week_info_per_model"] == 30


def test_rows_until_a_shift_is_told_are_compared_with_those_of_an_oracle():
    size = Size(models=1, days=1, awake_models=1, known=4, horizon=20, ramps=(1,))
    found = awake(STREAMS[0], size, 3, ramps=True)
    assert [each["shift_sd"] for each in found["shifts"]] == list(SHIFTS)
    half = found["shifts"][1]
    assert half["oracle_rows"] == 1000
    assert half["found"] == 1
    assert half["times_oracle"] == half["median_rows"] / half["oracle_rows"]
    (ramp,) = found["ramps"]
    assert ramp["found"] > 0.5
    assert 0 < ramp["median_sd"] <= 0.4
