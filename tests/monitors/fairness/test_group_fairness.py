import json
import math
from dataclasses import replace

import numpy as np
import pytest
from fairlearn import metrics

from monitors.fairness.counting import ClassCounting
from monitors.fairness.group_bounds import MOST_GROUPS
from monitors.fairness.group_fairness import GroupFairnessMonitor, Tolerances
from monitors.performance.labels import CorrectedRow, JoinedRow, corrections, joined_rows

DEFAULT = Tolerances(by_metric={"demographic_parity_difference": 0.1})
ODDS = Tolerances(by_metric={"equalized_odds_difference": 0.1, "equal_opportunity_ratio": 0.8})


def scores(selected):
    selected = np.asarray(selected, dtype=float)
    return {"y": np.column_stack((1 - selected, selected))}


def monitor(window=1000, tolerances=DEFAULT, attributes=("group",), **options):
    return GroupFairnessMonitor(attributes, ClassCounting("y", 1), tolerances, window, **options)


def predictions(make_rows, selected, timestamp=0.0, **groups):
    return make_rows(outputs=scores(selected), groups=groups, timestamp=timestamp)


def labelled(predicted, truth, timestamp=0.0, with_label=False, **groups):
    names = list(groups)
    rows = []
    columns = zip(predicted, truth, *groups.values(), strict=True)
    for at, (said, true, *values) in enumerate(columns):
        told = {n: v for n, v in zip(names, values, strict=True) if v is not None}
        of = {"sensitive_features": told} if with_label else {"groups": told}
        rows.append(JoinedRow(int(said), int(true), position=at, **of))
    return joined_rows(rows, timestamp)


def counted(watch, labelled_rows):
    """Rows by group, of all windows that are remembered."""
    groups = watch._sides[int(labelled_rows)].groups["group"]
    total = groups._blocks.total().reshape(groups._shape).sum(axis=1)
    return {name: total[at] for name, at in groups._places.items()}


def by_metric(found, subject="group"):
    return {each.metric: each for each in found if each.subject == subject}


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_fairlearns(make_rows, seed):
    rng = np.random.default_rng(seed)
    groups = rng.choice(["a", "b", "c"], 900, p=[0.5, 0.3, 0.2])
    said, truth = rng.random(900) < 0.4, rng.random(900) < rng.uniform(0.3, 0.7)
    watch = monitor(900)
    found = by_metric([
        *watch.update(predictions(make_rows, said, group=list(groups)), now=0),
        *watch.update(labelled(said, truth, group=groups.tolist()), now=0),
    ])  # fmt: skip
    for name in ("demographic_parity", "equal_opportunity", "equalized_odds"):
        for kind in ("difference", "ratio"):
            of = getattr(metrics, f"{name}_{kind}")
            expected = of(truth, said, sensitive_features=groups)
            assert found[f"{name}_{kind}"].value == pytest.approx(expected, abs=1e-12)
    assert found["accuracy_difference"].n_current == 900
    assert len(found) == 14


def test_only_what_has_a_tolerance_has_a_verdict(make_rows):
    watch = monitor(400)
    said = np.tile([True, False], 200)
    groups = np.repeat(["a", "b"], 200).tolist()
    found = by_metric(watch.update(predictions(make_rows, said, group=groups), now=0))
    assert found["demographic_parity_difference"].breached is False
    ratio = found["demographic_parity_ratio"]
    assert (ratio.breached, ratio.threshold, ratio.why_unknown) == (None, None, "no threshold set")


def test_a_gap_is_a_breach_and_its_ratio_has_a_verdict_of_its_own(make_rows):
    tolerances = Tolerances(
        by_metric={"demographic_parity_difference": 0.6, "demographic_parity_ratio": 0.8}
    )
    watch = monitor(1000, tolerances)
    groups = np.repeat(["a", "b"], 500).tolist()
    said = np.concatenate([np.arange(500) < 400, np.arange(500) < 150])
    found = by_metric(watch.update(predictions(make_rows, said, 7.0, group=groups), now=0))
    assert found["demographic_parity_difference"].breached is False
    ratio = found["demographic_parity_ratio"]
    assert (ratio.breached, ratio.value, ratio.since) == (True, pytest.approx(0.375), 7.0)
    assert ratio.ci[1] < 0.8
    assert ratio.detail["windows"] == 1


def feed(watch, make_rows, rng, windows, share, rates, start=0):
    """Feed windows of 500 rows; returns the first window in which the difference was breached."""
    for number in range(start, start + windows):
        groups = np.where(rng.random(500) < share, "b", "a")
        said = rng.random(500) < np.where(groups == "b", rates[1], rates[0])
        rows = predictions(make_rows, said, number * 600.0, group=groups.tolist())
        found = by_metric(watch.update(rows, now=0))
        if found["demographic_parity_difference"].breached:
            return number - start + 1
    return None


@pytest.mark.parametrize(("share", "most"), [(0.5, 20), (0.05, 120)])
def test_a_gap_is_found_after_a_calm_past_also_of_a_minority(make_rows, share, most):
    rng = np.random.default_rng(11)
    watch = monitor(500)
    assert feed(watch, make_rows, rng, 100, share, (0.4, 0.4)) is None
    found = feed(watch, make_rows, rng, most, share, (0.5, 0.25), start=100)
    assert found is not None


def test_what_is_tolerated_raises_nothing(make_rows):
    alarms = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        alarms += feed(monitor(500), make_rows, rng, 300, 0.3, (0.5, 0.4)) is not None
    # At the very edge of what is tolerated 3 alarms are expected per quarter, 0.07 in 2 days.
    assert alarms <= 1


def test_a_breach_ends_when_the_gap_does(make_rows):
    rng = np.random.default_rng(2)
    watch = monitor(500)
    assert feed(watch, make_rows, rng, 30, 0.5, (0.6, 0.3)) is not None
    for number in range(40, 80):
        groups = np.where(rng.random(500) < 0.5, "b", "a").tolist()
        rows = predictions(make_rows, rng.random(500) < 0.4, number * 600.0, group=groups)
        found = by_metric(watch.update(rows, now=0))
    assert found["demographic_parity_difference"].breached is False


def test_too_few_rows_are_unknown(make_rows):
    watch = monitor(460)
    said = np.repeat([True, False], [400, 60])
    groups = np.repeat(["a", "b"], [400, 60]).tolist()
    found = by_metric(watch.update(predictions(make_rows, said, group=groups), now=0))
    difference = found["demographic_parity_difference"]
    assert (difference.breached, difference.value) == (None, 1)
    assert difference.reason == "a group has fewer than 100 rows"


def test_one_group_alone_is_unknown(make_rows):
    watch = monitor(200)
    groups = ["a"] * 190 + ["b"] * 10
    found = by_metric(watch.update(predictions(make_rows, [True] * 200, group=groups), now=0))
    difference = found["demographic_parity_difference"]
    assert difference.breached is None
    assert math.isnan(difference.value)
    assert difference.reason == "fewer than two groups have 20 rows"
    assert difference.detail["suppressed"] == 1


def test_labels_late_and_with_their_groups_are_judged():
    rng = np.random.default_rng(0)
    watch = monitor(500, ODDS)
    found = []
    for number in range(30):
        groups = rng.choice(["a", "b"], 500)
        truth = rng.random(500) < 0.5
        right = rng.random(500) < np.where(groups == "a", 0.9, 0.6)
        rows = labelled(
            np.where(right, truth, ~truth), truth, number * 600.0, with_label=True,
            group=groups.tolist(),
        )  # fmt: skip
        found = watch.update(rows, now=0) or found
    found = by_metric(found)
    assert found["equalized_odds_difference"].breached is True
    assert found["equal_opportunity_ratio"].breached is True
    # They had no group when they were predicted.
    assert sum(counted(watch, labelled_rows=False).values()) == 15_000


def test_groups_that_came_with_the_request_are_counted_once(make_rows):
    watch = monitor(500)
    groups = np.repeat(["a", "b"], 100).tolist()
    watch.update(predictions(make_rows, [True] * 200, group=groups), now=0)
    watch.update(labelled([1] * 200, [1] * 200, group=groups), now=0)
    assert sum(counted(watch, labelled_rows=False).values()) == 200


def test_corrections_count_as_if_the_new_labels_had_come():
    rng = np.random.default_rng(4)
    groups, said = rng.choice(["a", "b"], 400), rng.random(400) < 0.5
    truth, wrong = rng.random(400) < 0.5, rng.random(400) < 0.5
    watch, other = monitor(400, ODDS), monitor(400, ODDS)
    watch.update(labelled(said, wrong, group=groups.tolist()), now=0)
    corrected = [
        CorrectedRow(int(s), int(w), int(t), position=at, groups={"group": g})
        for at, (s, w, t, g) in enumerate(zip(said, wrong, truth, groups.tolist(), strict=True))
        if w != t
    ]
    found = by_metric(watch.revise(corrections(corrected, 1.0), now=1))
    expected = by_metric(other.update(labelled(said, truth, group=groups.tolist()), now=0))
    for metric, each in expected.items():
        assert found[metric].value == pytest.approx(each.value, nan_ok=True)
        assert found[metric].revised == len(corrected)


def test_a_correction_may_name_another_group():
    watch = monitor(400, ODDS)
    rows = labelled([1] * 400, [1] * 400, with_label=True, group=["a", "b"] * 200)
    watch.update(rows, now=0)
    corrected = [CorrectedRow(1, 1, 1, {"group": "a"}, {"group": "c"}, position=0)]
    watch.revise(corrections(corrected, 1.0), now=1)
    assert counted(watch, labelled_rows=True) == {"a": 199, "b": 200, "c": 1}


def test_intersections_are_groups_too(make_rows):
    watch = monitor(800, attributes=("sex", "age"))
    sex, age = ["F", "M"] * 400, ["old"] * 400 + ["young"] * 400
    pairs = zip(sex, age, strict=True)
    said = [pair == ("F", "old") or at % 4 == 0 for at, pair in enumerate(pairs)]
    found = watch.update(predictions(make_rows, said, sex=sex, age=age), now=0)
    assert {each.subject for each in found} == {"sex", "age", "sex & age"}
    both = by_metric(found, "sex & age")["demographic_parity_difference"]
    assert both.n_current == 800
    assert both.value == pytest.approx(1.0)


def test_rows_without_a_class_or_a_group_are_not_counted(make_rows):
    watch = monitor(300)
    rows = make_rows(
        outputs={"y": np.array([[math.nan, 1.0]] * 100 + [[0.0, 1.0]] * 200)},
        groups={"group": ["a"] * 150 + [None] * 150},
    )
    found = by_metric(watch.update(rows, now=0))
    assert found["demographic_parity_difference"].n_current == 50


def test_it_goes_on_from_its_state(make_rows):
    rng = np.random.default_rng(6)
    one, other = monitor(300, ODDS), monitor(300, ODDS)
    for number in range(8):
        groups = rng.choice(["a", "b"], 200).tolist()
        said, truth = rng.random(200) < 0.5, rng.random(200) < 0.5
        batch = predictions(make_rows, said, number * 60.0, group=groups)
        late = labelled(said, truth, number * 60.0, group=groups)
        expected = [*one.update(batch, 0), *one.update(late, 0)]
        assert [*other.update(batch, 0), *other.update(late, 0)] == expected
        again = monitor(300, ODDS)
        again.restore(json.loads(json.dumps(other.state(), allow_nan=False)))
        other = again
    with pytest.raises(ValueError, match="judged otherwise"):
        monitor(300).restore(one.state())


def test_a_correction_of_an_old_row_is_no_evidence_about_the_latest_window():
    rng = np.random.default_rng(3)
    tolerances = Tolerances(by_metric={"equal_opportunity_difference": 0.1})
    one, other = monitor(1000, tolerances), monitor(1000, tolerances)
    groups = rng.choice(["f", "m"], 7000).tolist()
    truth = rng.random(7000) < 0.5
    said = np.where(rng.random(7000) < 0.8, truth, ~truth)
    wrong = truth.copy()
    changed = [at for at in range(1000) if groups[at] == "f" and truth[at] and not said[at]]
    wrong[changed] = False
    for watch, labels in ((one, wrong), (other, truth)):
        for at in range(0, 7000, 1000):
            part = slice(at, at + 1000)
            rows = labelled(said[part], labels[part], at * 1.0, group=groups[part])
            expected = watch.update(replace(rows, positions=np.arange(at, at + 1000)), now=0)
    corrected = [
        CorrectedRow(int(said[at]), 0, 1, position=at, groups={"group": "f"}) for at in changed
    ]
    found = one.revise(corrections(corrected, 9e9), now=0)
    assert len(found) == len(expected)
    for now, then in zip(found, expected, strict=True):
        assert (now.metric, now.breached, now.n_current) == (
            then.metric,
            then.breached,
            then.n_current,
        )
        assert now.value == pytest.approx(then.value, nan_ok=True)
    again = monitor(1000, tolerances)
    again.restore(json.loads(json.dumps(one.state())))
    assert again.state() == one.state()


def test_difference_and_ratio_have_lookbacks_of_their_own(make_rows):
    both = {"demographic_parity_difference": 0.05, "demographic_parity_ratio": 0.8}
    lost = 0
    rng = np.random.default_rng(5)
    watch = monitor(500, Tolerances(by_metric=both))
    alone = monitor(500, Tolerances(by_metric={"demographic_parity_ratio": 0.8}))
    for number in range(60):
        groups = np.where(rng.random(500) < 0.5, "b", "a")
        said = rng.random(500) < np.where(groups == "b", 0.36, 0.5)
        rows = predictions(make_rows, said, number * 600.0, group=groups.tolist())
        found = by_metric(watch.update(rows, now=0))["demographic_parity_ratio"]
        by_itself = by_metric(alone.update(rows, now=0))["demographic_parity_ratio"]
        lost += bool(by_itself.breached) and found.breached is False
    # Two verdicts share what one has alone, so that a few come later.
    assert lost < 15
    assert found.breached is True


def test_equalized_odds_are_unknown_while_one_of_the_rates_is():
    truth = [1, 0] * 400 + [1] * 120 + [0] * 25
    said = [1, 0] * 400 + [0] * 145
    groups = ["a"] * 400 + ["b"] * 400 + ["c"] * 145
    watch = monitor(len(truth), Tolerances(by_metric={"equalized_odds_difference": 0.99}))
    found = by_metric(watch.update(labelled(said, truth, group=groups), now=0))
    odds = found["equalized_odds_difference"]
    assert odds.value == pytest.approx(1.0)
    assert (odds.breached, odds.reason) == (None, "a group has fewer than 100 rows")


def test_what_rests_on_labels_is_unknown_before_there_are_any(make_rows):
    watch = monitor(400, ODDS)
    groups = np.repeat(["a", "b"], 200).tolist()
    found = by_metric(watch.update(predictions(make_rows, [True] * 400, group=groups), now=0))
    for metric, side in (
        ("equalized_odds_difference", "above"),
        ("equal_opportunity_ratio", "below"),
    ):
        each = found[metric]
        assert (each.breached, each.direction) == (None, side)
        assert each.reason == "no window of labelled rows is full yet"


def test_groups_for_which_there_is_no_room_leave_it_open(make_rows):
    rng = np.random.default_rng(1)
    watch = monitor(1000)
    junk = [f"junk {number}" for number in range(MOST_GROUPS - 2)]
    found = watch.update(
        predictions(make_rows, [True] * 1000, group=["f", "m"] * 373 + junk), now=0
    )  # fmt: skip
    assert by_metric(found)["demographic_parity_difference"].detail["left_out"] == 0
    groups = rng.choice(["f", "m", "x"], 1000)
    rows = predictions(make_rows, groups != "x", 600.0, group=groups.tolist())
    difference = by_metric(watch.update(rows, now=0))["demographic_parity_difference"]
    assert (difference.breached, difference.reason) == (None, "there are more than 256 groups")
    assert difference.detail["left_out"] == (groups == "x").sum()


def test_a_group_that_nobody_remembers_makes_room(make_rows):
    watch = monitor(100)
    junk = [f"junk {number}" for number in range(MOST_GROUPS)]
    watch.update(predictions(make_rows, [True] * MOST_GROUPS, group=junk), now=0)
    # What is remembered ends after 256 windows, or a quarter more where blocks are long.
    for number in range(340):
        rows = predictions(make_rows, [True] * 100, number * 600.0, group=["x", "y"] * 50)
        found = watch.update(rows, now=0)
    difference = by_metric(found)["demographic_parity_difference"]
    assert difference.detail["left_out"] > 0
    for number in range(340, 700):
        rows = predictions(make_rows, [True] * 100, number * 600.0, group=["x", "y"] * 50)
        found = watch.update(rows, now=0)
    difference = by_metric(found)["demographic_parity_difference"]
    assert (difference.breached, difference.detail["left_out"]) == (False, 0)
    assert set(counted(watch, labelled_rows=False)) == {"x", "y"}
