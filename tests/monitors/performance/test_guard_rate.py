"""Guards against their stated rates: streams of rows with shares that are known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from monitors.finding import NO_RATE, Finding
from monitors.performance.guard_rate import NO_ROWS, GuardRateMonitor
from monitors.rows import FLAGGED, PASSED, UNJUDGED, Rows

WINDOW = 200


def batches(flags: np.ndarray, guard: str = "g", apart: float = 60.0) -> Iterator[Rows]:
    for at in range(0, len(flags), 100):
        part = flags[at : at + 100].astype(np.uint8)
        yield Rows(n=len(part), timestamp=at / 100 * apart, guards={guard: part})


def shown(monitor: GuardRateMonitor, flags: np.ndarray, **more: float) -> list[Finding]:
    return [each for rows in batches(flags, **more) for each in monitor.update(rows, 0.0)]


def stream(seed: int, rows: int, share: float) -> np.ndarray:
    return np.random.default_rng(seed).random(rows) < share


def first_breach(found: list[Finding]) -> int | None:
    return next((at for at, each in enumerate(found) if each.breached), None)


def test_a_guard_at_its_rate_is_fine_for_a_quarter_of_windows():
    for seed in range(5):
        found = shown(GuardRateMonitor({"g": 0.05}, WINDOW), stream(seed, 60_000, 0.05))
        assert len(found) == 300
        assert first_breach(found) is None
        assert {each.breached for each in found} == {False}


def test_bursts_at_the_stated_rate_are_no_breach():
    rng = np.random.default_rng(3)
    # An AR(1) of the share on the logarithmic scale: some windows have twice as much.
    level, shares = 0.0, []
    for _ in range(300):
        level = 0.5 * level + rng.normal(0, 0.3)
        shares.append(0.05 * np.exp(level - 0.06))
    flags = rng.random(60_000) < np.repeat(np.minimum(shares, 1), 200)
    found = shown(GuardRateMonitor({"g": 0.05}, WINDOW), flags, apart=600.0)
    assert first_breach(found) is None
    assert found[-1].detail["factor"] > 1.1


def test_one_that_flags_twice_as_many_is_a_ticket():
    found = shown(GuardRateMonitor({"g": 0.05}, WINDOW), stream(1, 20_000, 0.1))
    at = first_breach(found)
    assert at is not None
    each = found[at]
    assert (each.severity, each.direction, each.subject) == ("ticket", "above", "g")
    assert each.value > each.threshold == pytest.approx(0.075)
    assert each.detail["stated"] == 0.05
    assert each.since is not None
    assert not each.detail["dead"]


def test_a_dead_guard_is_found_once_there_are_enough_rows_and_not_before():
    found = shown(GuardRateMonitor({"g": 0.05}, WINDOW), np.zeros(4000))
    at = first_breach(found)
    assert at is not None
    assert at >= 1
    assert found[0].breached is False
    assert (found[at].value, found[at].direction) == (0.0, "below")
    assert found[at].detail["dead"]


def test_one_that_flags_again_is_fine_again():
    monitor = GuardRateMonitor({"g": 0.05}, WINDOW)
    shown(monitor, np.zeros(4000))
    found = shown(monitor, stream(2, 8000, 0.05))
    assert found[-1].breached is False


def test_rows_that_were_not_judged_do_not_count():
    flags = np.full(40_000, UNJUDGED)
    flags[::10] = np.where(stream(0, 4000, 0.05), FLAGGED, PASSED)
    found = shown(GuardRateMonitor({"g": 0.05}, WINDOW), flags)
    assert first_breach(found) is None
    silent = shown(GuardRateMonitor({"g": 0.05}, WINDOW), np.full(1000, UNJUDGED))
    assert {(each.breached, each.reason) for each in silent} == {(None, NO_ROWS)}


def test_without_a_stated_rate_there_is_a_share_and_no_verdict():
    monitor = GuardRateMonitor({"schema": None, "g": 0.05}, WINDOW)
    rows = Rows(
        n=WINDOW, timestamp=1.0,
        guards={"schema": np.ones(WINDOW, np.uint8), "g": np.zeros(WINDOW, np.uint8)},
    )  # fmt: skip
    schema, _ = monitor.update(rows, 0.0)
    assert (schema.value, schema.breached, schema.reason) == (1.0, None, NO_RATE)
    assert monitor.watched(2.0).not_watched == ("guard 'schema': no rate is stated",)


def test_a_state_of_other_rates_keeps_counts_and_leaves_out_findings():
    monitor = GuardRateMonitor({"g": 0.05}, WINDOW)
    shown(monitor, np.zeros(4000))
    other = GuardRateMonitor({"g": 0.01}, WINDOW)
    assert other.restore(monitor.state()) == []
    same = GuardRateMonitor({"g": 0.05}, WINDOW)
    assert same.restore(monitor.state())[0].breached
    with pytest.raises(ValueError, match="other labels or classes"):
        GuardRateMonitor({"h": 0.05}, WINDOW).restore(monitor.state())


def test_it_says_how_soon_it_would_see_what():
    monitor = GuardRateMonitor({"g": 0.05}, WINDOW)
    shown(monitor, stream(0, 20_000, 0.05))
    above, below = monitor.watched(200 * 60.0).items
    assert above.sees[86400.0] > 0
    assert below.sees[86400.0] <= below.threshold
    assert below.needs is not None
    assert below.needs.gap == pytest.approx(below.threshold)


def test_rates_near_one_have_an_upper_bound_below_one():
    (above, _) = GuardRateMonitor({"g": 0.9}, WINDOW).watched(0.0).items
    assert 0.9 < above.threshold < 1


def test_there_must_be_a_guard():
    with pytest.raises(ValueError, match="no guard"):
        GuardRateMonitor({}, WINDOW)
