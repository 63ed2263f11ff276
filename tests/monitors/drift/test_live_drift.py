import json
import math

import numpy as np
import pytest

from monitors.drift.distribution import DistributionDriftMonitor, DriftSettings
from monitors.drift.live_drift import LiveDriftMonitor

LOOKS = 90 * 86400 / 600
"""Windows of a quarter that the law expects before it has seen any."""
COLUMNS = ("a", "b", "c")


def columns(random, rows, shift=0.0):
    values = random.normal(size=(rows, 3)) + np.array([shift, 0.0, 0.0])
    kinds = np.array([b"red", b"blue"], object)[random.integers(0, 2, rows)]
    return {**dict(zip(COLUMNS, values.T, strict=True)), "kind": kinds}


def live(rows, window, rate=0.001, *, renewed=False):
    """A monitor that may raise so many false alarms per window."""
    settings = DriftSettings(window=window, rate=rate * LOOKS)
    return LiveDriftMonitor(
        rows,
        lambda reference: DistributionDriftMonitor(reference, settings),
        window=window,
        renewed=renewed,
    )


def drifted(found) -> bool | None:
    return next((f.breached for f in found if f.metric == "drifted_features"), None)


@pytest.mark.parametrize("rows", [200, 500])
def test_false_alarm_rate_holds_with_a_reference_as_small_as_the_window(make_rows, rows):
    alarms, streams = 0, 40
    for seed in range(streams):
        random = np.random.default_rng(seed)
        monitor = live(rows, rows, 0.05)
        found = monitor.update(make_rows(columns(random, 2 * rows)), now=0)
        alarms += bool(drifted(found))
    assert alarms / streams <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / streams)


def test_no_alarm_in_many_windows_at_the_default_rate(make_rows):
    alarms = windows = 0
    for seed in range(20):
        random = np.random.default_rng(1000 + seed)
        monitor = live(500, 500, 0.001)
        for _ in range(3):
            found = monitor.update(make_rows(columns(random, 500)), now=0)
            windows += drifted(found) is not None
            alarms += bool(drifted(found))
    assert windows == 40
    assert alarms <= 1  # 0.04 are to be expected


@pytest.mark.parametrize("rows", [500, 1000])
def test_finds_a_gross_change_without_history(make_rows, rows):
    found = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        monitor = live(rows, rows, 0.001)
        monitor.update(make_rows(columns(random, rows)), now=0)
        judged = monitor.update(make_rows(columns(random, rows, shift=1.5)), now=0)
        psi = {f.subject: f.breached for f in judged if f.metric == "psi"}
        found += psi["a"] and not psi["b"]
    assert found == 10


def test_says_how_far_it_is_and_since_when(make_rows):
    random = np.random.default_rng(0)
    monitor = live(1000, 100, 0.01)
    assert monitor.progress == "collecting reference: 0 of 1000 rows"
    found = monitor.update(make_rows(columns(random, 640), timestamp=1_700_000_000.0), now=0)
    assert monitor.progress == "collecting reference: 640 of 1000 rows"
    assert found == []
    monitor.update(make_rows(columns(random, 360), timestamp=1_800_000_000.0), now=0)
    assert monitor.progress == "reference: first 1000 rows since 2023-11-14T22:13:20Z"


def test_nothing_depends_on_how_rows_are_batched(make_rows):
    whole = columns(np.random.default_rng(0), 450)
    in_one, in_parts = (live(200, 100, 0.01) for _ in range(2))
    found = in_one.update(make_rows(whole), now=0)
    for start in range(0, 450, 7):
        part = {name: array[start : start + 7] for name, array in whole.items()}
        in_parts.update(make_rows(part), now=0)
    in_parts.update(make_rows(ids=[]), now=0)
    mine, theirs = in_one.state(), in_parts.state()
    for state in (mine, theirs):
        state["drift"].pop("findings")  # of one window, and of all that one event filled
    assert mine == theirs
    assert found[-1].n_reference == 200


def test_a_restart_keeps_the_reference_and_not_half_of_one(make_rows):
    random = np.random.default_rng(0)
    monitor = live(200, 100, 0.01)
    monitor.update(make_rows(columns(random, 150), timestamp=5.0), now=0)
    saved = json.dumps(monitor.state(), allow_nan=False)
    assert len(saved) < 100  # no rows
    half = live(200, 100, 0.01)
    assert half.restore(json.loads(saved)) == []
    assert half.progress == "collecting reference: 0 of 200 rows"

    found = monitor.update(make_rows(columns(random, 230), timestamp=6.0), now=0)
    again = live(200, 100, 0.01)
    kept = again.restore(json.loads(json.dumps(monitor.state(), allow_nan=False)))
    assert again.state() == monitor.state()
    assert again.progress == monitor.progress
    assert found
    assert repr(kept) == repr(found)
    rows = make_rows(columns(random, 60, shift=2.0))
    mine, theirs = (either.update(rows, now=0) for either in (monitor, again))
    assert mine
    assert repr(mine) == repr(theirs)


@pytest.mark.parametrize(("rows", "window"), [(300, 100), (200, 50)])
def test_a_state_of_other_settings_is_refused(make_rows, rows, window):
    monitor = live(200, 100, 0.01)
    monitor.update(make_rows(columns(np.random.default_rng(0), 250)), now=0)
    other = live(rows, window, 0.01)
    with pytest.raises(ValueError, match="another"):
        other.restore(monitor.state())
    assert "collecting" in other.progress


def test_a_new_reference_after_a_reset(make_rows):
    random = np.random.default_rng(0)
    monitor = live(200, 100, 0.01)
    monitor.update(make_rows(columns(random, 200)), now=0)
    assert drifted(monitor.update(make_rows(columns(random, 100, shift=3.0)), now=0)) is True
    monitor.reset()
    assert (monitor.state()["reference"], monitor.progress) == (
        None,
        "collecting reference: 0 of 200 rows",
    )
    assert drifted(monitor.update(make_rows(columns(random, 300, shift=3.0)), now=0)) is False


def test_missing_values_and_other_columns(make_rows):
    random = np.random.default_rng(0)
    monitor = live(200, 100, 0.01)
    monitor.update(make_rows(columns(random, 100)), now=0)
    monitor.update(make_rows({"other": np.ones(50)}), now=0)
    assert monitor.progress == "collecting reference: 100 of 200 rows"
    half = columns(random, 100)
    half["b"][::2] = np.nan
    monitor.update(make_rows(half), now=0)
    broken = columns(random, 100)
    broken["b"][:] = np.nan
    judged = monitor.update(make_rows(broken), now=0)
    psi = {f.subject: f.breached for f in judged if f.metric == "psi"}
    assert psi == {"a": False, "b": True, "c": False, "kind": False}


def test_a_renewed_reference_is_the_previous_period(make_rows):
    random = np.random.default_rng(0)
    monitor = live(400, 100, renewed=True)
    monitor.update(make_rows(columns(random, 400), timestamp=5.0), now=0)
    shifted = monitor.update(make_rows(columns(random, 400, shift=2.0), timestamp=9.0), now=0)
    assert drifted(shifted) is True
    assert monitor.progress == "reference: previous 400 rows since 1970-01-01T00:00:09Z"
    # What has stayed so is normal now, and what was normal before is not.
    assert drifted(monitor.update(make_rows(columns(random, 100, shift=2.0)), now=0)) is False
    assert drifted(monitor.update(make_rows(columns(random, 100)), now=0)) is True


def test_a_renewed_reference_does_not_depend_on_how_rows_are_batched(make_rows):
    whole = columns(np.random.default_rng(0), 1150)
    in_one, in_parts = live(400, 100, renewed=True), live(400, 100, renewed=True)
    found = in_one.update(make_rows(whole), now=0)
    parts = []
    for start in range(0, 1150, 13):
        part = {name: array[start : start + 13] for name, array in whole.items()}
        parts += in_parts.update(make_rows(part), now=0)
    assert repr(parts) == repr(found)
