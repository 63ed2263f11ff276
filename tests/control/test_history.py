"""Rates and quantiles of the last minute."""

from __future__ import annotations

import pytest

from serving.control.history import WINDOW_S, History, pool, quantile
from serving.telemetry.series import Series


def latency(counts: tuple[int, ...], **attributes: str) -> Series:
    pairs = tuple(sorted(attributes.items()))
    return Series("d", "histogram", "s", pairs, 1.0, (0.1, 0.2, 0.4), counts)


def test_increase_covers_the_window_only() -> None:
    now = [0.0]
    history = History(lambda: now[0])
    for second in range(int(2 * WINDOW_S) + 1):
        now[0] = float(second)
        history.sample(
            [Series("a", "sum", "1", (), 3.0 * second), Series("g", "gauge", "1", (), 1)]
        )
    assert history.seconds == WINDOW_S
    (grown,) = history.increase()
    assert grown.value == 3 * WINDOW_S


def test_series_that_appear_grow_from_zero_and_one_sample_says_nothing() -> None:
    history = History(iter([0.0, 1.0]).__next__)
    assert history.seconds == 0
    history.sample([])
    assert history.increase() == []
    history.sample([Series("a", "sum", "1", (), 4.0)])
    assert [item.value for item in history.increase()] == [4]


@pytest.mark.parametrize(
    ("counts", "q", "expected"),
    [
        ((0, 0, 0, 0), 0.5, None),
        ((10, 0, 0, 0), 0.5, 0.05),
        ((0, 10, 0, 0), 0.5, 0.15),
        ((5, 0, 5, 0), 0.5, 0.1),
        ((5, 0, 5, 0), 0.99, 0.396),
        ((1, 0, 0, 9), 0.99, 0.4),
    ],
)
def test_quantile(counts: tuple[int, ...], q: float, expected: float | None) -> None:
    found = quantile(latency(counts), q)
    assert found == (expected if expected is None else pytest.approx(expected))


def test_pool_adds_over_attributes() -> None:
    assert pool([]) is None
    pooled = pool([latency((1, 0, 0, 0), outcome="ok"), latency((0, 2, 0, 0), outcome="failed")])
    assert pooled is not None
    assert pooled.counts == (1, 2, 0, 0)
