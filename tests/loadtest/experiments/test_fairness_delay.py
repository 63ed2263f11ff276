from dataclasses import replace

import numpy as np
import pytest

from loadtest.experiments.fairness_delay import (
    QUICK,
    TOLERATED,
    WINDOW,
    alarms,
    breaches,
    delay,
    fixed,
    tables,
)

SMALL = replace(QUICK, quarters=1, windows=100)


def test_a_gap_is_found_and_no_gap_is_not():
    rows = delay(0.5, 10, seed=0)
    assert rows is not None
    assert WINDOW <= rows <= 4 * fixed(0.5, 1e-3)
    assert alarms(0.5, 0.0, SMALL, seed=0) == 0


def test_rows_of_a_fixed_test_grow_with_a_small_group_and_a_strict_level():
    assert fixed(0.5, 1e-3) < fixed(0.5, 1e-4) < fixed(0.05, 1e-4)
    # (z(.999) + z(.9))² (.25 / .5 + .2275 / .5) / .05²
    assert fixed(0.5, 1e-3) == pytest.approx(7301, rel=0.01)


def test_a_gap_that_nobody_tolerates_breaches_at_once():
    first = next(breaches(0.5, [0.5], np.random.default_rng(0)))
    assert first is True


def test_tables_tell_what_was_never_found():
    found = {
        "size": {"seeds": 2, "quarters": 2, "windows": 144},
        "delays": [{"share": 0.05, "calm": 0, "rows": [1000.0, None]}],
        "quiet": [{"share": 0.5, "gap": TOLERATED, "alarms": [0, 1]}],
    }
    told = tables(found)
    assert "| 5% | 0 | inf | inf | inf | inf |" in told
    assert "| 50% | 0.1 | 2 | 1 |" in told
    assert "Stretches of 1 days" in told
