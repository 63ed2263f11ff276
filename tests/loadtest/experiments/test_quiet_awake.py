"""The experiment of quiet and awake."""

import numpy as np
import pytest

from loadtest.experiments.quiet_awake import table
from loadtest.experiments.quiet_streams import SHIFTS, Size, quiet
from loadtest.experiments.window_streams import STREAMS, Stream


def test_it_counts_what_is_told_for_nothing_by_severity():
    size = Size(models=1, days=1, awake_models=1, known=1, horizon=1, ramps=())
    found = quiet(STREAMS[0], size, 0)
    assert [found[name]["count"] for name in ("page", "ticket", "info")] == [0, 0, 0]
    assert found["info"]["high"] == pytest.approx(3.69 * 90, rel=0.01)
    jumping = Stream("jumps", lambda _rng, windows, k: np.tile([[0.0], [3.0]], (windows // 2, k)))
    jumped = quiet(jumping, size, 0)
    assert jumped["info"]["count"] >= 30
    assert jumped["first_week_info_per_model"] == jumped["info"]["count"]


def test_the_table_has_a_line_per_stream_and_says_what_was_not_found():
    each = {"per_model_and_quarter": 0.5, "low": 0.1, "high": 1.4}
    awake = [
        {"median_rows": 2000.0, "rows_of_90_percent": None, "oracle_rows": 1000.0,
         "times_oracle": 2.0}
        for _ in SHIFTS
    ]  # fmt: skip
    counted = {**dict.fromkeys(("page", "ticket", "info"), each), "first_week_info_per_model": 0.0}
    told = table([{"stream": "one", "quiet": counted, "awake": awake}]).splitlines()
    assert len({line.count("|") for line in told}) == 1
    assert told[-1].startswith("| one | 0.50 (0.10-1.40) |")
    assert "| 2,000, not found | 1,000 | 2.0 |" in told[-1]
