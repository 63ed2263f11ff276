"""Targets of quiet and awake."""

from loadtest.experiments.quiet_awake_targets import table, targets


def stream(name, page=0.5, first=0.2, shifts=(), ramps=()):
    each = {"per_model_and_quarter": page, "low": 0.1, "high": 1.4}
    counted = {**dict.fromkeys(("page", "ticket", "info"), each)}
    return {
        "stream": name,
        "quiet": {**counted, "first_week_info_per_model": first},
        "awake": {"shifts": list(shifts), "ramps": list(ramps)},
    }


def shift(sd, rows, oracle):
    times = None if rows is None or oracle is None else rows / oracle
    return {
        "shift_sd": sd, "rows_of_90_percent": rows, "oracle_rows": oracle, "times_oracle": times
    }  # fmt: skip


def held(*streams, planted=(), shares=(), took=10.0):
    return targets(
        {
            "streams": streams,
            "planted": planted,
            "rare_shares": shares,
            "microseconds_a_row": took,
        }
    )


def met(each, what):
    return [one.met for one in each if what in one.what]


def test_quiet_is_held_against_what_is_stated():
    each = held(stream("a"), stream("b", page=1.5, first=1.2))
    assert met(each, "pages per model") == [True, False]
    assert met(each, "tickets per model") == [True, True]
    assert met(each, "first week") == [True, False]


def test_independent_rows_are_held_against_rows_and_others_against_the_oracle():
    one = stream("a", shifts=[shift(0.5, 2000, 1000), shift(0.2, 9000, 1000)])
    other = stream("b", shifts=[shift(0.5, 2000, 1000), shift(0.2, 9000, 1000)])
    each = held(one, other)
    assert met(each, "rows of 90 %") == [False, True]
    assert met(each, "times the oracle") == [True, False]


def test_what_was_not_told_is_not_met_and_what_nobody_could_find_is_no_target():
    each = held(stream("a"), stream("b", shifts=[shift(0.5, None, 1000), shift(0.2, None, None)]))
    assert met(each, "times the oracle") == [False]


def test_a_ramp_must_be_told_before_it_is_up():
    ramps = [{"days": 7, "sd_of_90_percent": 0.3}, {"days": 28, "sd_of_90_percent": None}]
    assert met(held(stream("a", ramps=ramps)), "ramp") == [True, False]


def test_changes_of_rows_are_held_against_nine_in_ten_trials():
    rows = {"history": "7 days", "change": "a", "within": 1000}
    some = {**rows, "rows": [1000.0] * 9 + [5000.0]}
    fewer = {**rows, "rows": [1000.0] * 8 + [None] * 2}
    assert met(held(planted=[some, fewer]), "a, rows of") == [True, False]


def test_bursts_and_processor_time_have_targets():
    shares = [{"bursts": "x", "by_day": [2, 0], "stated": 1.07},
              {"bursts": "y", "by_day": [2, 1], "stated": 1.07}]  # fmt: skip
    each = held(shares=shares, took=26.0)
    assert met(each, "infos of 300") == [True, False]
    assert met(each, "processor time") == [False]


def test_the_table_has_a_line_each():
    lines = table(held(stream("a", page=1.5))).splitlines()
    assert len(lines) == 2 + 5
    assert len({line.count("|") for line in lines}) == 1
    assert "| a | pages per model and quarter | 1.50 (0.10-1.40) | 1 | **no** |" in lines
