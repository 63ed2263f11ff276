import copy
import json
import math

import numpy as np
import pytest

from monitors.drift.distribution import DistributionDriftMonitor, DriftSettings
from monitors.reference.profile import ReferenceProfile
from monitors.rows import Rows

WIDE = 30
NAMES = [f"f{at}" for at in range(WIDE)]
CLASSES = np.array(["red", "green", "blue", "grey"], dtype=object)


def stream(rng, rows):
    """Columns of 30 independent normals, of which f2 has the tail of a t3, and of a class."""
    x = rng.normal(size=(rows, WIDE))
    columns = {name: x[:, at] for at, name in enumerate(NAMES)}
    columns["f2"] = rng.standard_t(3, rows)
    return {**columns, "class": CLASSES[rng.integers(0, 4, rows)]}


def rows_of(columns, timestamp=0.0):
    return Rows(n=len(next(iter(columns.values()))), timestamp=timestamp, columns=columns)


@pytest.fixture(scope="module")
def reference():
    return ReferenceProfile.fit(stream(np.random.default_rng(99), 5000))


DAYS = 7
"""Days without a change, after which a law knows that windows of this stream are independent."""
BEGIN = DAYS * 86400.0
"""When changes begin: windows come every ten minutes."""
WINDOW = 500
SETTINGS = DriftSettings(window=WINDOW, window_s=599)


@pytest.fixture(scope="module")
def experienced(reference):
    """A monitor that has seen small windows without a change, and said nothing."""
    monitor = DistributionDriftMonitor(reference, SETTINGS)
    rng = np.random.default_rng(77)
    for at in range(DAYS * 144):
        calm = monitor.update(rows_of(stream(rng, 120), 600.0 * at), 0.0)
        assert [found for found in calm if found.breached] == []
    monitor.update(rows_of(stream(rng, WINDOW - 120), BEGIN - 600.0), 0.0)
    assert monitor.filled == (0, WINDOW)
    return monitor


@pytest.fixture
def monitor(experienced):
    return copy.deepcopy(experienced)


@pytest.fixture
def young(reference):
    """A monitor without any history."""
    return DistributionDriftMonitor(reference, SETTINGS)


def shifted(columns, rng, by):
    columns["f0"] = columns["f0"] + by


def lost(columns, rng, share):
    columns["f0"] = np.where(rng.random(len(columns["f0"])) < share, np.nan, columns["f0"])


def without_a_class(columns, rng, label):
    gone = columns["class"] == label
    others = rng.choice([each for each in CLASSES if each != label], len(gone))
    columns["class"] = np.where(gone, others, columns["class"]).astype(object)


def long_tail(columns, rng, factor):
    some = rng.random(len(columns["f2"])) < 0.05
    columns["f2"] = np.where(some, columns["f2"] * factor, columns["f2"])


def correlated(columns, rng, rho):
    columns["f1"] = rho * columns["f0"] + math.sqrt(1 - rho**2) * columns["f1"]


def wider(columns, rng, factor):
    columns["f0"] = columns["f0"] * factor


def unseen(columns, rng, share):
    some = rng.random(len(columns["class"])) < share
    columns["class"] = np.where(some, "violet", columns["class"]).astype(object)


SUBTLE = [
    (shifted, 0.5, 1500, "f0", "location"),
    (shifted, 0.2, 10_000, "f0", "location"),
    (correlated, 0.9, 10_000, "", ""),
    (wider, 1.5, 1500, "f0", None),
    (without_a_class, "blue", 1000, "class", "share of 'blue'"),
]
GROSS = [
    (lost, 0.05, 1000, "f0", "missing"),
    (long_tail, 1000, 1000, "f2", None),
    (unseen, 0.05, 1000, "class", "unseen"),
]


def breaches(monitor, rng, change, how, rows, window):
    """Show a monitor rows with a change; returns the findings of the first window that breaches."""
    for at in range(rows // window):
        columns = stream(rng, window)
        change(columns, rng, how)
        found = monitor.update(rows_of(columns, BEGIN + 600.0 * at), 0.0)
        if any(each.breached for each in found):
            return found
    return []


@pytest.mark.parametrize(("change", "how", "within", "column", "moved"), SUBTLE)
def test_changes_are_found_within_so_many_rows(experienced, change, how, within, column, moved):
    for seed in range(2):
        rng, monitor = np.random.default_rng(seed), copy.deepcopy(experienced)
        found = breaches(monitor, rng, change, how, within, WINDOW)
        breached = {each.subject: each for each in reversed(found) if each.breached}
        assert column in breached
        if moved:
            assert breached[column].detail["moved"] == moved
        if not column:
            pairs = next(each for each in found if each.metric == "correlations")
            pair = pairs.detail["pairs"][0]
            assert pair["columns"] == ["f0", "f1"]
            assert abs(pair["reference"]) < 0.1
            assert pair["current"] > 0.8


@pytest.mark.parametrize(("change", "how", "within", "column", "moved"), GROSS)
def test_what_hardly_ever_was_is_found_without_any_history(
    reference, change, how, within, column, moved
):
    for seed in range(2):
        monitor = DistributionDriftMonitor(reference, DriftSettings(window=1000))
        found = breaches(monitor, np.random.default_rng(seed), change, how, within, 1000)
        breached = {each.subject: each for each in reversed(found) if each.breached}
        assert column in breached
        if moved:
            assert breached[column].detail["moved"] == moved


def test_the_first_window_tells_gross_changes_only(reference):
    verdicts = {}
    for by in (0.5, 2.0):
        columns = stream(np.random.default_rng(7), 1000)
        columns["f0"] = columns["f0"] + by
        monitor = DistributionDriftMonitor(reference, DriftSettings())
        found = monitor.update(rows_of(columns), 0.0)
        verdicts[by] = {each.subject for each in found if each.breached and each.metric == "psi"}
    assert verdicts == {0.5: set(), 2.0: {"f0"}}


def test_evidence_tells_what_moved_since_when_and_the_histograms(monitor):
    rng = np.random.default_rng(0)
    calm = monitor.update(rows_of(stream(rng, WINDOW), BEGIN), 0.0)
    fine = next(each for each in calm if each.subject == "f0")
    assert (fine.breached, fine.since, "histogram" in fine.detail) == (False, None, False)
    columns = stream(rng, WINDOW)
    columns["f0"] = columns["f0"] + 1.0
    found = monitor.update(rows_of(columns, BEGIN + 600), 0.0)
    psi, ks = (each for each in found if each.subject == "f0")
    assert (psi.metric, psi.breached, psi.severity) == ("psi", True, "info")
    assert psi.ci[0] < psi.value < psi.ci[1]
    assert psi.p_value < psi.detail["level"]
    assert psi.detail["basis"].endswith("days of history")
    assert BEGIN <= psi.since <= BEGIN + 600
    histogram = psi.detail["histogram"]
    assert len(histogram["current"]) == len(histogram["edges"]) + 1
    assert sum(histogram["current"]) + sum(n for _, n in (histogram["missing"],)) == WINDOW
    assert (ks.metric, ks.breached) == ("ks", True)
    assert ks.value == pytest.approx(0.383, abs=0.05)
    total = next(each for each in found if each.metric == "drifted_features")
    assert (total.value, total.since) == (1.0, psi.since)
    assert total.detail["columns"][0]["column"] == "f0"
    json.dumps([dict(each.detail) for each in found], allow_nan=False)


def test_a_least_effect_keeps_small_changes_quiet(reference):
    verdicts = {}
    for least in (0.0, 5.0):
        monitor = DistributionDriftMonitor(reference, DriftSettings(min_psi=least))
        columns = stream(np.random.default_rng(1), 1000)
        columns["f0"] = columns["f0"] + 1.5
        found = next(each for each in monitor.update(rows_of(columns), 0.0) if each.subject == "f0")
        verdicts[least] = (found.breached, found.threshold)
    assert verdicts == {0.0: (True, None), 5.0: (False, 5.0)}


def test_windows_end_with_their_time_too(reference):
    monitor = DistributionDriftMonitor(reference, DriftSettings(window_s=600))
    rng = np.random.default_rng(2)
    assert monitor.update(rows_of(stream(rng, 40), 0.0), 0.0) == []
    assert monitor.update(rows_of(stream(rng, 40), 700.0), 0.0) == []  # fewer than 50
    found = monitor.update(rows_of(stream(rng, 40), 800.0), 0.0)
    assert {each.n_current for each in found} == {80}
    assert {each.window for each in found} == {(0.0, 700.0)}
    assert monitor.filled == (40, 1000)


BROKEN = {
    "all missing": np.full(1000, np.nan),
    "constant": np.full(1000, 7.0),
    "infinite": np.full(1000, np.inf),
    "huge": np.full(1000, 1e308),
    "of objects": np.full(1000, None, object),
    "of text": np.full(1000, b"text", object),
    "whole": np.arange(1000),
    "flags": np.arange(1000) % 2 == 0,
}


@pytest.mark.parametrize("values", BROKEN.values(), ids=BROKEN)
def test_broken_columns_are_findings_and_no_errors(monitor, values):
    rng = np.random.default_rng(3)
    columns = {**stream(rng, 1000), "f0": values, "class": values}
    found = monitor.update(rows_of(columns, BEGIN), 0.0)
    broken = {each.subject for each in found if each.breached and each.metric == "psi"}
    assert {"f0", "class"} <= broken
    json.dumps(monitor.state(), allow_nan=False)


@pytest.mark.parametrize("values", BROKEN.values(), ids=BROKEN)
def test_broken_references_are_compared_with_all_the_same(values):
    reference = ReferenceProfile.fit({"x": values, "y": np.arange(1000.0)})
    monitor = DistributionDriftMonitor(reference, DriftSettings())
    for at in range(12):
        same = monitor.update(rows_of({"x": values, "y": np.arange(1000.0)}, 600.0 * at), 0.0)
        assert not any(each.breached for each in same)
    rng = np.random.default_rng(4)
    other = monitor.update(rows_of({"x": rng.normal(5, 1, 1000), "y": np.arange(1000.0)}, 7200), 0)
    breached = {each.subject for each in other if each.breached and each.metric == "psi"}
    assert breached == {"x"}


def test_an_absent_column_counts_as_missing(young):
    columns = stream(np.random.default_rng(5), 1000)
    del columns["f7"]
    found = young.update(rows_of(columns), 0.0)
    f7 = next(each for each in found if each.subject == "f7")
    assert (f7.breached, f7.detail["moved"]) == (True, "missing")


def test_a_column_of_an_old_profile_without_categories_is_not_watched():
    old = ReferenceProfile.from_dict(
        {"n": 100, "columns": {"ident": {"categories": [], "counts": [100, 0]}}}
    )
    monitor = DistributionDriftMonitor(old, DriftSettings(window=50))
    found = monitor.update(rows_of({"ident": np.full(50, b"x", object)}), 0.0)
    assert {each.metric: each.breached for each in found} == {
        "psi": None,
        "drifted_features": None,
    }
    assert all(each.reason.startswith("not watched: ") for each in found)


def test_a_state_belongs_to_one_reference_and_window(reference):
    monitor = DistributionDriftMonitor(reference, DriftSettings())
    monitor.update(rows_of(stream(np.random.default_rng(6), 1500)), 0.0)
    state = json.loads(json.dumps(monitor.state(), allow_nan=False))
    for settings in (DriftSettings(window=500), DriftSettings(window_s=60)):
        with pytest.raises(ValueError, match="another reference, columns or window"):
            DistributionDriftMonitor(reference, settings).restore(state)
    again = DistributionDriftMonitor(reference, DriftSettings(rate=100))
    assert again.restore(state) == []  # judged by another budget
    assert again.filled == (500, 1000)
    same = DistributionDriftMonitor(reference, DriftSettings())
    assert len(same.restore(state)) == len(monitor.state()["findings"])


def test_nothing_to_watch_is_refused():
    with pytest.raises(ValueError, match="at least one column"):
        DistributionDriftMonitor(ReferenceProfile(5, {}), DriftSettings())
