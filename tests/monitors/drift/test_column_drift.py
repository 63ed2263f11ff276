import json
import math

import numpy as np
import pytest

from monitors.drift.column_drift import ColumnSpec, DriftMonitor, every_column
from monitors.reference.profile import ReferenceProfile

FEATURES = 20
SPECS = [ColumnSpec("x", i, f"f{i}") for i in range(FEATURES)]


def profile(rng, rows=5000):
    x = rng.normal(size=(rows, FEATURES))
    return ReferenceProfile.fit({f"f{i}": x[:, i] for i in range(FEATURES)})


def of(findings, metric, subject=""):
    return next(f for f in findings if (f.metric, f.subject) == (metric, subject))


def test_finds_the_one_shifted_feature_of_twenty(make_rows):
    found = 0
    rng = np.random.default_rng(0)
    reference = profile(rng)
    for _ in range(60):
        monitor = DriftMonitor(reference, SPECS, 500, 0.001, 0.05)
        x = rng.normal(size=(500, FEATURES))
        x[:, 3] += 0.5
        judged = monitor.update(make_rows({"x": x}), now=0)
        found += of(judged, "psi", "f3").breached
    assert found >= 57  # 95 %


def test_few_false_alarms_in_a_thousand_windows_at_the_default_rate(make_rows):
    rng = np.random.default_rng(1)
    reference = ReferenceProfile.fit({f"f{i}": rng.normal(size=5000) for i in range(3)})
    monitor = DriftMonitor(reference, SPECS[:3], 200, 0.001, 0.0)
    alarms = 0
    for _ in range(1000):
        judged = monitor.update(make_rows({"x": rng.normal(size=(200, 3))}), now=0)
        alarms += of(judged, "drifted_features").breached
    assert alarms <= 1000 * (0.001 + 2 * math.sqrt(0.001 / 1000))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("rows", "window"), [(5000, 500), (300, 200)])
def test_false_alarm_rate_holds_over_references_and_windows(make_rows, rows, window):
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(1000):
        monitor = DriftMonitor(profile(rng, rows), SPECS, window, 0.05, 0.0)
        judged = monitor.update(make_rows({"x": rng.normal(size=(window, FEATURES))}), now=0)
        alarms += of(judged, "drifted_features").breached
    assert alarms / 1000 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)


def test_a_significant_but_small_effect_is_no_alarm(make_rows):
    rng = np.random.default_rng(4)
    monitor = DriftMonitor(profile(rng), SPECS, 5000, 0.001, 0.05)
    x = rng.normal(size=(5000, FEATURES))
    x[:, 0] += 0.15
    judged = monitor.update(make_rows({"x": x}), now=0)
    finding = of(judged, "psi", "f0")
    assert finding.p_value < 0.001
    assert finding.value < 0.05
    assert finding.breached is False


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_feature_that_breaks_is_found(make_rows, value):
    rng = np.random.default_rng(5)
    monitor = DriftMonitor(profile(rng), SPECS, 200, 0.001, 0.05)
    x = rng.normal(size=(200, FEATURES))
    x[:60, 7] = value
    judged = monitor.update(make_rows({"x": x}), now=0)
    assert of(judged, "psi", "f7").breached is True
    assert of(judged, "drifted_features").value == 1


def test_an_absent_input_counts_as_missing(make_rows):
    rng = np.random.default_rng(6)
    monitor = DriftMonitor(profile(rng), SPECS, 100, 0.001, 0.05)
    judged = monitor.update(make_rows({}, ids=["r"] * 100), now=0)
    assert of(judged, "drifted_features").value == FEATURES


def test_categories_and_constants(make_rows):
    rng = np.random.default_rng(7)
    reference = ReferenceProfile.fit(
        {"c": rng.choice(["a", "b"], 2000).astype(object), "k": np.ones(2000)}
    )
    specs = [ColumnSpec("c", 0, "c", categorical=True), ColumnSpec("k", 0, "k")]
    monitor = DriftMonitor(reference, specs, 300, 0.001, 0.05)
    same = rng.choice([b"a", b"b"], 300).astype(object)
    judged = monitor.update(make_rows({"c": same, "k": np.ones(300, dtype=np.float32)}), now=0)
    assert of(judged, "drifted_features").breached is False
    new = rng.choice([b"a", b"b", b"new"], 300).astype(object)
    judged = monitor.update(make_rows({"c": new, "k": np.full(300, 1.001)}), now=0)
    assert of(judged, "psi", "c").breached is True
    assert of(judged, "psi", "k").breached is True


def test_an_event_that_fills_several_windows_loses_none(make_rows):
    rng = np.random.default_rng(8)
    monitor = DriftMonitor(profile(rng), SPECS, 100, 0.001, 0.05)
    x = rng.normal(size=(350, FEATURES))
    x[100:200] += 3
    judged = monitor.update(make_rows({"x": x}), now=0)
    verdicts = [f.breached for f in judged if f.metric == "drifted_features"]
    assert verdicts == [False, True, False]
    assert monitor.state()["window"]["rows"] == 50


def test_p_values_are_adjusted_over_the_columns(make_rows):
    rng = np.random.default_rng(9)
    reference = profile(rng)
    x = rng.normal(size=(200, FEATURES))
    x[:, 0] += 0.3
    p_values = []
    for specs in (SPECS[:1], SPECS):
        monitor = DriftMonitor(reference, specs, 200, 0.001, 0.05)
        judged = monitor.update(make_rows({"x": x}), now=0)
        p_values.append(of(judged, "psi", "f0").p_value)
    assert p_values[1] == pytest.approx(FEATURES * p_values[0])


def test_state_is_of_constant_size_and_belongs_to_one_reference(make_rows):
    rng = np.random.default_rng(10)
    monitor = DriftMonitor(profile(rng), SPECS, 100_000, 0.001, 0.05)
    lengths = set()
    for _ in range(3):
        monitor.update(make_rows({"x": rng.normal(size=(1000, FEATURES))}), now=0)
        lengths.add(len(monitor.state()["counts"]))
    assert len(lengths) == 1
    assert len(json.dumps(monitor.state())) < 10_000
    other = DriftMonitor(profile(rng), SPECS, 100_000, 0.001, 0.05)
    with pytest.raises(ValueError, match="another reference"):
        other.restore(monitor.state())


def test_refuses_columns_that_the_reference_does_not_have():
    reference = ReferenceProfile.fit({"x": np.arange(10.0)})
    with pytest.raises(ValueError, match="no numeric column 'y'"):
        DriftMonitor(reference, [ColumnSpec("x", 0, "y")], 100, 0.001, 0.05)
    with pytest.raises(ValueError, match="no categorical column 'x'"):
        DriftMonitor(reference, [ColumnSpec("x", 0, "x", categorical=True)], 100, 0.001, 0.05)
    with pytest.raises(ValueError, match="at least one column"):
        DriftMonitor(reference, [], 100, 0.001, 0.05)


def test_texts_that_are_no_categories_are_not_watched(make_rows):
    rng = np.random.default_rng(0)
    ids = np.array([f"id-{n}".encode() for n in range(500)], dtype=object)
    reference = ReferenceProfile.fit({"x": rng.normal(size=500), "ident": ids})
    monitor = DriftMonitor(reference, every_column(reference), 100, 0.01, 0.05)
    judged = monitor.update(make_rows({"x": rng.normal(size=100), "ident": ids[:100]}), now=0)
    found = {(f.metric, f.subject): f for f in judged}
    unknown = found["psi", "ident"]
    assert (unknown.breached, unknown.p_value, math.isnan(unknown.value)) == (None, None, True)
    assert "not watched" in unknown.reason
    assert found["psi", "x"].breached is False
    assert found["drifted_features", ""].breached is False


def test_nothing_to_compare_is_unknown(make_rows):
    ids = np.array([f"id-{n}".encode() for n in range(500)], dtype=object)
    reference = ReferenceProfile.fit({"ident": ids})
    monitor = DriftMonitor(reference, every_column(reference), 100, 0.01, 0.05)
    judged = monitor.update(make_rows({"ident": ids[:100]}), now=0)
    assert {f.metric: f.breached for f in judged} == {
        "psi": None,
        "drifted_features": None,
    }


def test_a_verdict_by_other_thresholds_does_not_outlive_a_restart(make_rows):
    reference = ReferenceProfile.fit({"x": np.arange(500.0)})
    monitor = DriftMonitor(reference, every_column(reference), 100, 0.01, 0.05)
    for rate, least in ((0.02, 0.05), (0.01, 0.5)):
        with pytest.raises(ValueError, match="another reference"):
            DriftMonitor(reference, every_column(reference), 100, rate, least).restore(
                monitor.state()
            )
