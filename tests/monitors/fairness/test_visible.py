"""What disparities can be seen: stated, and shown by simulated rows."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from monitors.fairness.counting import ClassCounting
from monitors.fairness.definitions import SELECTION_RATE
from monitors.fairness.group_fairness import GroupFairnessMonitor, Tolerances
from monitors.fairness.visible import Strictness, Traffic, resolution
from monitors.rows import Rows
from monitors.watched import Item

TIMES = 40
LEAST = int(binom.ppf(0.005, TIMES, 0.9))
METRIC = "demographic_parity_difference"


def fairness() -> GroupFairnessMonitor:
    tolerances = Tolerances(by_metric={METRIC: 0.1})
    return GroupFairnessMonitor(["sex"], ClassCounting("y", 1), tolerances, 500, 3.0)


def show(monitor: GroupFairnessMonitor, rng, rows: int, gap: float, now: float) -> bool:
    breached = False
    for _ in range(rows // 100):
        now += 60.0
        women = rng.random(100) < 0.2
        groups = np.empty(100, object)
        groups[:] = np.where(women, "F", "M")
        favoured = rng.random(100) < np.where(women, 0.5 - gap / 2, 0.5 + gap / 2)
        found = monitor.update(
            Rows(n=100, timestamp=now, groups={"sex": groups}, predicted=favoured.astype(np.int64),
                 positions=np.arange(100)),
            now,
        )  # fmt: skip
        breached |= any(each.breached for each in found if each.metric == METRIC)
    return breached


def item_of(monitor: GroupFairnessMonitor, now: float) -> Item:
    return next(each for each in monitor.watched(now).items if each.metric == METRIC)


def test_a_gap_of_twice_the_tolerance_is_shown_with_the_rows_that_are_stated():
    monitor, rng = fairness(), np.random.default_rng(0)
    show(monitor, rng, 5000, 0.0, 0.0)
    needs = item_of(monitor, 3000.0).needs
    assert needs is not None
    assert needs.gap == 0.1
    shown = [0, 0]
    for seed in range(TIMES):
        for at, gap in enumerate((0.2, 0.15)):
            found = show(fairness(), np.random.default_rng(seed), int(needs.rows), gap, 0.0)
            shown[at] += found
    assert shown[0] >= LEAST
    assert shown[1] < TIMES / 2


def test_before_two_groups_there_is_nothing_to_see():
    monitor = fairness()
    assert item_of(monitor, 1.0).needs is None
    rows = {"n": 600, "timestamp": 1.0, "predicted": np.zeros(600, np.int64)}
    groups = np.full(600, "F", object)
    monitor.update(Rows(**rows, groups={"sex": groups}, positions=np.arange(600)), 1.0)
    item = item_of(monitor, 100.0)
    assert item.basis == "fewer than two groups have been seen often enough"


def test_a_metric_without_a_tolerance_is_measured_and_not_judged():
    items = fairness().watched(0.0).items
    free = [each for each in items if each.metric == "demographic_parity_ratio"]
    assert [each.not_judged for each in free] == ["no threshold set"]
    assert len(items) == 14


def test_a_small_group_costs_rows_and_the_largest_is_who_others_are_compared_with():
    def needs(shares: list[float], whom: str) -> float:
        rows = np.array(shares) * 1000
        counts = np.stack([rows / 2, rows / 2], axis=1)
        seen = resolution(
            SELECTION_RATE,
            Traffic(counts=counts, rows=1000, window=500, rate=1.0),
            Strictness(budget=3.0, figures=1, min_rows=100, factor=1.0, whom=whom),
            0.1,
            ratio=False,
        )
        assert seen is not None
        found = seen.needs(0.1)
        assert found is not None
        return found.rows

    assert needs([0.1, 0.9], "each") > 2 * needs([0.5, 0.5], "each")
    assert needs([0.1, 0.1, 0.8], "each") > needs([0.1, 0.1, 0.8], "largest")


def test_ratios_are_seen_too():
    counts = np.array([[100.0, 100.0], [400.0, 400.0]])
    seen = resolution(
        SELECTION_RATE,
        Traffic(counts=counts, rows=1000, window=500, rate=1.0),
        Strictness(budget=3.0, figures=1, min_rows=100, factor=1.0, whom="each"),
        0.8,
        ratio=True,
    )
    assert seen is not None
    sees = list(seen.sees().values())
    assert sees == sorted(sees, reverse=True)
