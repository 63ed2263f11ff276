"""Calibration by group and errors of numbers by group, as findings."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from monitors.fairness.counting import ClassCounting, NumberCounting
from monitors.fairness.group_fairness import NO_LABELS, GroupFairnessMonitor, Tolerances
from monitors.fairness.side import LEARNING
from monitors.monitor import Monitor
from monitors.rows import Corrections, Rows

WINDOW = 500
ERRORS = {
    # Their mean size is 1.
    "normal": lambda rng, n: rng.normal(size=n) / 0.798,
    "lognormal": lambda rng, n: rng.lognormal(size=n) / 1.649,
    "t3": lambda rng, n: rng.standard_t(3, size=n) / 1.103,
}
OF_NUMBERS = {"mae_difference": 0.25, "mae_ratio": 0.8, "mean_error_difference": 0.3}


def of_numbers(tolerated=OF_NUMBERS, window=WINDOW, **options) -> GroupFairnessMonitor:
    return GroupFairnessMonitor(
        ["sex"], NumberCounting("y"), Tolerances(by_metric=tolerated), window, **options
    )


def of_classes(tolerated=0.1, window=WINDOW) -> GroupFairnessMonitor:
    tolerances = Tolerances(by_metric={"calibration_difference": tolerated})
    return GroupFairnessMonitor(
        ["sex"], ClassCounting("y", 1, calibration=True), tolerances, window
    )


def labelled(groups, predicted, labels, first=0, scores=None, timestamp=None) -> Rows:
    n = len(groups)
    return Rows(
        n=n,
        timestamp=600.0 * first / WINDOW if timestamp is None else timestamp,
        request_groups={"sex": np.asarray(groups, dtype=object)},
        predicted=np.asarray(predicted),
        labels=np.asarray(labels),
        scores=scores,
        positions=np.arange(first, first + n),
        answered=np.zeros(n),
    )


def stream(kind, seed, windows, *, times=1.0, plus=0.0, share=0.5):
    """Windows of numbers whose errors are larger, or shifted, in one group."""
    rng = np.random.default_rng(seed)
    for at in range(windows):
        small = rng.random(WINDOW) < share
        errors = ERRORS[kind](rng, WINDOW) * np.where(small, times, 1.0) + plus * small
        truth = rng.normal(size=WINDOW) * 50
        groups = np.where(small, "F", "M").astype(object)
        yield labelled(groups, truth + errors, truth, at * WINDOW)


def probabilities(seed, windows, gap, share=0.5):
    """Windows of probabilities that are too low by a gap in one group."""
    rng = np.random.default_rng(seed)
    for at in range(windows):
        small = rng.random(WINDOW) < share
        said = rng.uniform(0.1, 0.7, WINDOW)
        true = rng.random(WINDOW) < said + gap * small
        groups = np.where(small, "F", "M").astype(object)
        scores = np.column_stack((1 - said, said))
        yield labelled(groups, said > 0.5, true, at * WINDOW, scores)


def breaches(monitor: Monitor, rows) -> dict[str, int]:
    """Windows until each metric was in breach first."""
    found: dict[str, int] = {}
    for at, each in enumerate(rows, 1):
        for finding in monitor.update(each, 0.0):
            if finding.breached:
                found.setdefault(finding.metric, at)
    return found


def latest(monitor: GroupFairnessMonitor, rows) -> dict:
    found = {}
    for each in rows:
        found |= {finding.metric: finding for finding in monitor.update(each, 0.0)}
    return found


@pytest.mark.parametrize("kind", ERRORS)
def test_a_gap_of_errors_is_found_and_the_tolerated_one_is_not(kind):
    gap = breaches(of_numbers(), stream(kind, 1, 45, times=1.6))
    assert {"mae_difference", "mae_ratio"} <= gap.keys()
    quiet = {"mae_difference": 0.25, "mae_ratio": 0.8}
    for seed in range(2):
        assert not breaches(of_numbers(quiet), stream(kind, seed, 60, times=1.25))


def test_a_shift_of_errors_is_found_where_their_size_is_alike():
    found = breaches(of_numbers(), stream("t3", 1, 40, plus=0.9))
    assert found["mean_error_difference"] < 20
    assert not breaches(of_numbers({"mean_error_difference": 0.3}), stream("t3", 2, 60, plus=0.3))


def test_probabilities_that_are_worse_in_one_group_are_found_and_a_tolerated_gap_is_not():
    assert breaches(of_classes(), probabilities(1, 20, 0.25))["calibration_difference"] > 1
    assert breaches(of_classes(), probabilities(1, 70, 0.25, share=0.1))
    for seed in range(2):
        assert not breaches(of_classes(), probabilities(seed, 60, 0.1))


def test_figures_are_those_of_the_rows():
    rows = list(stream("normal", 3, 6, times=1.5))
    found = latest(of_numbers(), rows)
    counted = rows[1:]  # the first window tells how large errors are
    errors = np.concatenate([each.predicted - each.labels for each in counted])
    groups = np.concatenate([each.request_groups["sex"] for each in counted])
    sizes = np.minimum(np.abs(errors), found["mae_difference"].detail["capped_at"])
    means = sorted(sizes[groups == name].mean() for name in ("F", "M"))
    assert found["mae_difference"].value == pytest.approx(means[1] - means[0])
    assert found["mae_ratio"].value == pytest.approx(means[0] / means[1])
    assert found["mae_difference"].ci[0] < found["mae_difference"].value
    assert found["mae_difference"].n_current == 5 * WINDOW
    assert "mean_error_ratio" not in found


def test_calibration_is_the_mean_gap_of_each_group():
    rows = list(probabilities(4, 3, 0.2))
    found = latest(of_classes(), rows)["calibration_difference"]
    gaps = np.concatenate([each.labels - each.scores[:, 1] for each in rows])
    groups = np.concatenate([each.request_groups["sex"] for each in rows])
    wanted = gaps[groups == "F"].mean() - gaps[groups == "M"].mean()
    assert found.value == pytest.approx(wanted)
    assert "capped_at" not in found.detail


def test_nothing_is_known_before_labels_and_before_the_size_of_errors():
    monitor = of_numbers()
    first, second = list(stream("normal", 1, 2))
    unknown = monitor.update(replace(first, labels=None, groups=first.request_groups), 0.0)
    assert {each.metric for each in unknown} == OF_NUMBERS.keys()
    assert {each.reason for each in unknown} == {NO_LABELS}
    assert {each.reason for each in monitor.update(first, 0.0)} == {LEARNING}
    known = monitor.update(second, 0.0)
    assert not [each for each in known if each.reason == LEARNING]
    assert all(math.isfinite(each.value) for each in known)


def test_errors_that_outgrow_their_scale_are_measured_anew_and_nothing_is_fine_meanwhile():
    monitor = of_numbers()
    latest(monitor, stream("normal", 1, 4))
    # All at once and in parts, the scale is learnt of the same rows.
    grown = [
        replace(each, predicted=each.predicted * 5, labels=each.labels * 5)
        for each in stream("normal", 2, 4)
    ]
    after = [monitor.update(each, 0.0) for each in grown]
    assert {each.reason for each in after[0]} == {LEARNING}
    assert {each.breached for each in after[1]} == {None}
    small = after[-1][0].detail["capped_at"]
    assert small == pytest.approx(5 * 1.25 * 2.58 / 0.798, rel=0.15)


def test_how_rows_are_batched_makes_no_difference_even_where_the_scale_is_learnt_anew():
    parts = [*stream("normal", 1, 3), *stream("normal", 2, 3, times=9)]
    whole = Rows(
        n=6 * WINDOW,
        timestamp=5.0,
        request_groups={"sex": np.concatenate([each.request_groups["sex"] for each in parts])},
        predicted=np.concatenate([each.predicted for each in parts]),
        labels=np.concatenate([each.labels for each in parts]),
        positions=np.arange(6 * WINDOW),
        answered=np.zeros(6 * WINDOW),
    )
    in_one, in_parts = of_numbers(), of_numbers()
    one = in_one.update(whole, 0.0)
    many = [
        finding
        for start in range(0, whole.n, 170)
        for finding in in_parts.update(whole.part(slice(start, start + 170)), 0.0)
    ]
    assert repr(one) == repr(many)
    assert {each.reason for each in one} >= {LEARNING}


def test_corrected_labels_count_as_if_they_alone_had_come():
    rows = list(stream("normal", 1, 5, times=1.5))
    corrected, plain = of_numbers(), of_numbers()
    latest(corrected, rows)
    which = slice(30, 90)
    moved = [*rows]
    labels = rows[3].labels.copy()
    labels[which] += 4.0
    moved[3] = replace(rows[3], labels=labels)
    wanted = latest(plain, moved)
    part = rows[3].part(which)
    found = corrected.revise(
        Corrections(rows=replace(part, labels=labels[which]), labels=part.labels), 0.0
    )
    by_metric = {each.metric: each for each in found}
    assert by_metric["mae_difference"].value == pytest.approx(wanted["mae_difference"].value)
    assert by_metric["mae_difference"].revised == 60


def test_state_brings_it_back_at_any_row():
    rows = [*stream("normal", 1, 3), *stream("normal", 2, 3, times=9)]
    for stop in (0, 1, 3, 4, 5):
        monitor, again = of_numbers(), of_numbers()
        latest(monitor, [*rows[:stop], rows[stop].part(slice(0, 200))])
        found = again.restore(json.loads(json.dumps(monitor.state())))
        assert repr(found) == repr(list(monitor._findings.values()))
        rest = [rows[stop].part(slice(200, WINDOW)), *rows[stop + 1 :]]
        assert repr(latest(again, rest)) == repr(latest(monitor, rest))
        assert again.state() == monitor.state()


def test_a_state_of_classes_is_not_taken_for_one_of_numbers():
    with pytest.raises(ValueError, match="other attributes, or judged otherwise"):
        of_numbers().restore(of_classes().state())


def test_groups_with_few_rows_are_not_told_of():
    rng = np.random.default_rng(1)
    groups = np.where(np.arange(3 * WINDOW) % 200 == 0, "X", "M").astype(object)
    groups[::2] = "F"
    groups[::200] = "X"
    truth = rng.normal(size=3 * WINDOW)
    rows = labelled(groups, truth + rng.normal(size=3 * WINDOW), truth)
    found = latest(of_numbers(), [rows])["mae_difference"]
    assert found.detail["suppressed"] == 1
    assert found.n_current == 2 * WINDOW - 5
    assert found.breached is False or found.breached is None


def test_what_can_be_seen_is_told_in_the_unit_of_the_errors():
    one, hundred = of_numbers(), of_numbers({"mae_difference": 25.0})
    latest(one, stream("normal", 1, 20))
    latest(hundred, [
        replace(each, predicted=each.predicted * 100, labels=each.labels * 100)
        for each in stream("normal", 1, 20)
    ])  # fmt: skip
    (of_one,) = (
        each for each in one.watched(20 * 600.0).items if each.metric == "mae_difference"
    )  # fmt: skip
    (of_hundred,) = (
        each for each in hundred.watched(20 * 600.0).items if each.metric == "mae_difference"
    )
    assert of_one.needs
    assert of_hundred.needs
    assert of_hundred.needs.gap == 100 * of_one.needs.gap == 25.0
    # One of three verdicts shares the budget with the others, so it needs more rows.
    assert of_hundred.needs.rows < of_one.needs.rows < 1.3 * of_hundred.needs.rows
    # As it is told: the two groups are as far above what is usual as below.
    apart = [
        replace(each, predicted=each.labels + 0.75 * (each.predicted - each.labels))
        for each in stream("normal", 5, 60, times=1.25 / 0.75)
    ]
    shown = breaches(of_numbers(), apart)["mae_difference"]
    assert (shown - 1) * WINDOW < 1.3 * of_one.needs.rows
    assert {each.not_judged for each in of_numbers({}).watched(0.0).items} == {"no threshold set"}
