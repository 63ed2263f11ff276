import json
import math

import numpy as np
import pytest
from fairlearn.metrics import demographic_parity_difference, demographic_parity_ratio

from monitors.fairness.group_cells import MOST_GROUPS
from monitors.fairness.selection_rate_difference import SelectionRateMonitor
from monitors.performance.labels import CorrectedRow, JoinedRow, corrections, joined_rows
from monitors.statistics.newcombe import newcombe


def scores(selected):
    selected = np.asarray(selected, dtype=float)
    return {"y": np.column_stack((1 - selected, selected))}


def monitor(window, tolerance=0.1, **options):
    return SelectionRateMonitor(["group"], 1, "y", tolerance, window, **options)


def judged(watch, make_rows, selected, groups):
    rows = make_rows(outputs=scores(selected), groups={"group": list(groups)})
    difference, ratio = watch.update(rows, now=0)
    assert difference.metric == "demographic_parity_difference"
    assert ratio.metric == "demographic_parity_ratio"
    return difference, ratio


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_fairlearns(make_rows, seed):
    rng = np.random.default_rng(seed)
    rows = 900
    groups = rng.choice(["a", "b", "c"], rows, p=[0.5, 0.3, 0.2])
    selected = rng.random(rows) < rng.random()
    difference, ratio = judged(monitor(rows), make_rows, selected, groups)
    truth = np.zeros(rows)
    given = {"sensitive_features": groups}
    expected = demographic_parity_difference(truth, selected, **given)
    assert difference.value == pytest.approx(expected, abs=1e-12)
    expected = demographic_parity_ratio(truth, selected, **given)
    assert ratio.value == pytest.approx(expected, abs=1e-12)
    assert (difference.subject, difference.n_current) == ("group", rows)


def test_the_interval_is_newcombes_of_the_extreme_groups(make_rows):
    selected = np.repeat([True, False, True, False], [90, 60, 50, 100])
    groups = np.repeat(["a", "b"], 150)
    difference, _ = judged(monitor(300, confidence=0.95), make_rows, selected, groups)
    assert difference.ci == pytest.approx(newcombe(90, 150, 50, 150, 0.95))


def test_intervals_widen_with_pairs_of_groups_and_attributes(make_rows):
    groups = np.repeat(["a", "b", "c"], 100)
    selected = np.tile([True, False], 150)
    watch = SelectionRateMonitor(["group", "other"], 1, "y", 0.1, 300, confidence=0.94)
    rows = make_rows(outputs=scores(selected), groups={"group": groups.tolist()})
    difference = watch.update(rows, now=0)[0]
    assert difference.ci == pytest.approx(newcombe(50, 100, 50, 100, 0.99))


def test_breach_only_when_the_interval_excludes_the_tolerance(make_rows):
    groups = np.repeat(["a", "b"], 500)
    wide = np.concatenate([np.arange(500) < 400, np.arange(500) < 250])
    narrow = np.concatenate([np.arange(500) < 310, np.arange(500) < 250])
    assert judged(monitor(1000), make_rows, wide, groups)[0].breached is True
    difference, _ = judged(monitor(1000), make_rows, narrow, groups)
    assert difference.value == pytest.approx(0.12)
    assert difference.breached is False


def test_no_verdict_with_too_few_rows_in_a_group(make_rows):
    groups = np.repeat(["a", "b"], [400, 60])
    selected = np.repeat([True, False], [400, 60])
    difference, ratio = judged(monitor(460), make_rows, selected, groups)
    assert difference.value == 1
    assert difference.breached is ratio.breached is None


def test_a_small_group_does_not_hide_a_breach_between_large_ones(make_rows):
    groups = np.repeat(["a", "b", "few"], [400, 400, 30])
    selected = np.repeat([True, False, True], [400, 400, 30])
    assert judged(monitor(830), make_rows, selected, groups)[0].breached is True


def test_groups_under_twenty_rows_are_in_no_figure(make_rows):
    groups = np.repeat(["a", "b", "tiny"], [200, 200, 19])
    selected = np.concatenate([np.arange(200) < 100, np.arange(200) < 100, np.ones(19, bool)])
    difference, _ = judged(monitor(419), make_rows, selected, groups)
    assert (difference.value, difference.n_current, difference.breached) == (0, 400, False)


def test_one_group_or_none_is_no_comparison(make_rows):
    for groups in (["a"] * 200, [None] * 200):
        difference, ratio = judged(monitor(200), make_rows, [True] * 200, groups)
        assert math.isnan(difference.value)
        assert math.isnan(ratio.value)
        assert difference.ci is None
        assert difference.breached is None


def test_nobody_selected_has_no_ratio(make_rows):
    difference, ratio = judged(monitor(400), make_rows, [False] * 400, ["a", "b"] * 200)
    assert difference.value == 0
    assert math.isnan(ratio.value)


def test_findings_never_name_a_group(make_rows):
    findings = judged(monitor(400), make_rows, [True] * 400, ["Smurf", "Gnome"] * 200)
    assert not {"Smurf", "Gnome"} & set(repr(findings).replace("'", " ").split())


def test_groups_per_attribute_are_bounded(make_rows):
    watch = monitor(10_000)
    watch.update(
        make_rows(outputs=scores(np.ones(900)), groups={"group": [f"g{i}" for i in range(900)]}),
        now=0,
    )
    assert len(watch.state()["cells"]["group"]) == MOST_GROUPS


def test_values_that_come_with_labels_count(make_rows):
    watch = monitor(300, min_rows=50)
    first = [JoinedRow(1, 0, {"group": "a"})] * 100 + [JoinedRow(-1, 0, {"group": "a"})]
    second = [JoinedRow(0, 0, {"group": "b", "unwatched": "x"})] * 100
    for labelled in (first, second):
        assert watch.update(joined_rows(labelled, 0.0), now=0) == []
    assert watch.filled == (0, 300)
    difference, _ = judged(watch, make_rows, [True] * 300, [None] * 300)
    assert difference.value == 1
    assert difference.breached is True
    assert difference.n_current == 200


def test_false_alarms_on_an_unbiased_stream(make_rows):
    rng = np.random.default_rng(0)
    watch = monitor(400, tolerance=0.0, confidence=0.95)
    alarms = 0
    for _ in range(1000):
        groups = rng.choice(["a", "b", "c"], 400)
        alarms += bool(judged(watch, make_rows, rng.random(400) < 0.3, groups)[0].breached)
    assert alarms / 1000 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)


def test_power_for_a_ten_point_gap(make_rows):
    rng = np.random.default_rng(1)
    watch = monitor(4000, tolerance=0.0)
    found = 0
    for _ in range(100):
        rates = np.repeat([0.4, 0.5], 2000)
        selected = rng.random(4000) < rates
        groups = np.repeat(["a", "b"], 2000)
        found += bool(judged(watch, make_rows, selected, groups)[0].breached)
    assert found >= 95


def test_state_is_json_and_belongs_to_its_attributes(make_rows):
    watch = monitor(100)
    watch.update(make_rows(outputs=scores(np.ones(30)), groups={"group": ["a"] * 30}), now=0)
    saved = json.loads(json.dumps(watch.state(), allow_nan=False))
    other = SelectionRateMonitor(["age"], 1, "y", 0.1, 100)
    with pytest.raises(ValueError, match="other attributes"):
        other.restore(saved)


def labelled(*groups, first=0):
    """Labels that bring the groups of rows that were selected."""
    return joined_rows(
        [JoinedRow(1, 1, {"group": group}, first + at) for at, group in enumerate(groups)], 1.0
    )


def moved(position, old, new):
    before = {} if old is None else {"group": old}
    return CorrectedRow(1, 1, 1, before, {"group": new}, position)


def test_a_group_that_is_corrected_is_counted_once(make_rows):
    watch = monitor(100)
    watch.update(make_rows(outputs=scores([False] * 50), groups={"group": ["b"] * 50}), now=0)
    watch.update(labelled("a", "a", "b"), now=0)
    given = corrections([moved(0, "a", "b"), moved(2, "b", "c"), moved(1, None, "d")], 2.0)
    assert watch.revise(given, now=1) == []
    cells = watch.state()["cells"]["group"]
    assert cells == {"a": [1, 1], "b": [1, 51], "c": [1, 1], "d": [1, 1]}


def test_the_latest_window_is_judged_again_and_older_ones_stay(make_rows):
    watch = monitor(100)
    groups = {"group": ["b"] * 100}
    watch.update(labelled(*["a"] * 40), now=0)
    watch.update(make_rows(outputs=scores([False] * 100), groups=groups, timestamp=1.0), now=0)
    watch.update(labelled(*["a"] * 40, first=40), now=0)
    found = watch.update(make_rows(outputs=scores([False] * 100), groups=groups), now=0)
    assert (found[0].value, found[0].revised) == (1, 0)
    assert watch.revise(corrections([moved(3, "a", "b")], 2.0), now=1) == []
    again = json.loads(json.dumps(watch.state()))
    other = monitor(100)
    other.restore(again)
    given = corrections([moved(at, "a", "b") for at in range(40, 50)], 2.0)
    for one in (watch, other):
        difference, ratio = one.revise(given, now=1)
        assert difference.value == pytest.approx(1 - 10 / 110)
        assert difference.revised == ratio.revised == 10
        assert difference.window_id == found[0].window_id
        assert one.revise(corrections([moved(50, "a", "c")], 2.0), now=1)[0].revised == 11
    assert watch.state() == other.state()
