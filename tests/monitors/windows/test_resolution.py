"""What lookbacks can show: stated, and shown by simulated rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from monitors.performance.labelled_performance import LabelledPerformanceMonitor
from monitors.performance.metrics.class_counts import ClassCounts
from monitors.performance.metrics.class_metrics import class_metrics
from monitors.rows import Rows
from monitors.watched import Item
from monitors.windows.resolution import Resolution

TIMES = 50
LEAST = int(binom.ppf(0.005, TIMES, 0.9))
"""Shown less often, 90 % would be refuted; a chance of 1 in 200."""
COUNTS = ClassCounts(2, 1, scored=False)
GAP_S = 30.0
"""Seconds from one batch of 20 labelled rows to the next."""


def made(**other: float) -> Resolution:
    given = {"budget": 1.0, "window": 200, "rate": 1.0} | other
    return Resolution(sd=lambda _gap: 0.4, factor=lambda _windows: 1.0, **given)


def test_more_time_shows_smaller_gaps_and_less_than_a_window_shows_none():
    seen = made(rate=0.1).sees()
    assert list(seen) == [3600.0, 86400.0, 7 * 86400.0]
    assert seen[3600.0] > seen[86400.0]
    assert 3600.0 not in made(rate=0.05).sees()
    assert made(rate=0.0).sees() == {}


def test_a_gap_needs_the_rows_that_show_it():
    for gap in (0.05, 0.1, 0.2):
        needs = made().needs(gap)
        assert needs is not None
        assert needs.rows % 200 == 0
        assert needs.seconds == needs.rows
        assert made()._gap(needs.rows) <= gap < made()._gap(needs.rows / 1.5)


def test_variation_costs_as_many_times_the_rows():
    free = made().needs(0.05)
    varied = Resolution(
        sd=lambda _gap: 0.4, factor=lambda _windows: 3.0, budget=1.0, window=200, rate=1.0
    ).needs(0.05)
    assert free is not None
    assert varied is not None
    assert varied.rows == pytest.approx(3 * free.rows, rel=0.15)


def test_what_takes_more_rows_than_are_remembered_is_never_shown():
    assert made().needs(0.001) is None


def performance(seed: int, windows: int, accuracy: float, now: float = 0.0, monitor=None):
    rng = np.random.default_rng(seed)
    if monitor is None:
        metrics = [each for each in class_metrics(COUNTS) if each.name == "accuracy"]
        monitor = LabelledPerformanceMonitor(COUNTS, metrics, {"accuracy": 0.8}, 200, 1.0)
    breached = False
    for _ in range(windows * 10):
        now += GAP_S
        right = rng.random(20) < accuracy
        labels = rng.integers(0, 2, 20)
        rows = Rows(
            n=20, timestamp=now, predicted=np.where(right, labels, 1 - labels), labels=labels,
            positions=np.arange(20),
        )  # fmt: skip
        breached |= any(each.breached for each in monitor.update(rows, now))
    return monitor, now, breached


def accuracy_of(monitor: LabelledPerformanceMonitor, now: float) -> Item:
    (item,) = monitor.watched(now).items
    return item


def test_a_loss_of_accuracy_is_shown_with_the_rows_that_are_stated():
    item = accuracy_of(*performance(0, 20, 0.9)[:2])
    needs = item.needs
    assert needs is not None
    assert needs.seconds == pytest.approx(needs.rows / 20 * GAP_S, rel=0.02)
    assert needs.gap == pytest.approx(0.08)
    windows = math.ceil(needs.rows / 200)
    shown = [0, 0]
    for seed in range(TIMES):
        for at, gap in enumerate((needs.gap, needs.gap / 2)):
            monitor, now, _ = performance(seed, 8, 0.9)
            shown[at] += performance(1000 + seed, windows, 0.8 - gap, now, monitor)[2]
    assert shown[0] >= LEAST
    assert shown[1] < TIMES / 2


def test_nothing_is_stated_before_the_first_window():
    item = accuracy_of(*performance(0, 0, 0.9)[:2])
    assert (item.sees, item.needs, item.factor) == ({}, None, None)
    assert item.threshold == 0.8
