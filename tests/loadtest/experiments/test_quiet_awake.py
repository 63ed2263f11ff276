"""The experiment of quiet and awake."""

from loadtest.experiments.quiet_awake import report, table
from loadtest.experiments.quiet_streams import QUICK, SHIFTS

EACH = {"per_model_and_quarter": 0.5, "low": 0.1, "high": 1.4}
AWAKE = [
    {"shift_sd": shift, "median_rows": 2000.0, "rows_of_90_percent": None, "oracle_rows": 1000.0,
     "times_oracle": 2.0}
    for shift in SHIFTS
]  # fmt: skip
STREAM = {
    "stream": "independent",
    "quiet": {**dict.fromkeys(("page", "ticket", "info"), EACH), "first_week_info_per_model": 0.0},
    "awake": {"shifts": AWAKE, "ramps": []},
}


def test_the_table_has_a_line_per_stream_and_says_what_was_not_found():
    told = table([STREAM]).splitlines()
    assert len({line.count("|") for line in told}) == 1
    assert told[-1].startswith("| independent | 0.50 (0.10-1.40) |")
    assert "| 2,000, not found | 1,000 | 2.0 |" in told[-1]


def test_a_report_says_how_many_targets_were_met_and_where_it_was_stopped():
    found = {
        "streams": [STREAM], "planted": [], "rare_shares": [], "microseconds_a_row": 9.0,
        "seed": 4, "minutes": 1.5,
    }  # fmt: skip
    told = report(found, QUICK)
    assert "5 of 7 targets are met (seed 4, 1.5 min)." in told
    assert "Not simulated: daily cycle" in told
