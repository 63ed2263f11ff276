import numpy as np
import pytest

from monitors.estimation.prediction_powered import PredictionPoweredMean


def pool(seed, quality, rows=2000):
    """Losses of 0 and 1 and proxies between useless (0) and perfect (1)."""
    rng = np.random.default_rng(seed)
    losses = (rng.random(rows) < 0.15).astype(float)
    proxies = quality * losses + (1 - quality) * rng.random(rows)
    return losses, proxies, rng.permutation(rows)


@pytest.mark.parametrize("quality", [0.0, 0.8])
def test_the_interval_holds_at_all_times(quality):
    wrong = 0
    for seed in range(40):
        losses, proxies, order = pool(seed, quality)
        mean = PredictionPoweredMean(proxies, alpha=0.1)
        missed = False
        for part in np.split(order[:100], 10):
            mean.add(losses[part], proxies[part])
            found = mean.interval()
            missed |= not found.low <= losses.mean() <= found.high
        wrong += missed
    assert wrong <= 40 * 0.1


def test_good_proxies_are_worth_labels_and_useless_ones_cost_none():
    width, error = {}, {}
    for quality in (0.0, 0.8):
        found = []
        for seed in range(12):
            losses, proxies, order = pool(seed, quality)
            mean = PredictionPoweredMean(proxies)
            mean.add(losses[order[:200]], proxies[order[:200]])
            interval = mean.interval()
            found.append((interval.high - interval.low, interval.value - losses.mean()))
        width[quality], error[quality] = np.mean(found, axis=0)[0], np.std(found, axis=0)[1]
    plain = (0.15 * 0.85 / 200) ** 0.5
    assert error[0.0] < 1.5 * plain
    assert error[0.8] < 0.6 * plain
    assert width[0.8] < 0.7 * width[0.0]


def test_all_labels_leave_no_doubt():
    losses, proxies, order = pool(0, 0.5, rows=150)
    mean = PredictionPoweredMean(proxies)
    mean.add(losses[order], proxies[order])
    low, high = mean.interval()[1:3]
    assert low <= losses.mean() <= high
    assert high - low < 0.01


def test_nothing_is_known_without_labels_but_what_proxies_say():
    mean = PredictionPoweredMean(np.array([0.2, 0.4]))
    found = mean.interval()
    assert found.value == pytest.approx(0.3)
    assert (found.low, found.high, found.labels) == (0, 1, 0)


def test_a_loss_above_a_threshold_is_shown_with_few_labels():
    losses, proxies, order = pool(1, 0.8)
    mean = PredictionPoweredMean(proxies)
    mean.add(losses[order[:200]], proxies[order[:200]])
    assert mean.interval().low > 0.05


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="proxies are empty"):
        PredictionPoweredMean(np.array([]))
    with pytest.raises(ValueError, match="proxies must be numbers"):
        PredictionPoweredMean(np.array([0.5, np.nan]))
    with pytest.raises(ValueError, match="alpha is 0"):
        PredictionPoweredMean(np.array([0.5]), alpha=0)
    mean = PredictionPoweredMean(np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match="losses must be numbers"):
        mean.add(np.array([2.0]), np.array([0.5]))
    with pytest.raises(ValueError, match="losses have shape"):
        mean.add(np.array([1.0]), np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match="more rows than the pool's 2"):
        mean.add(np.ones(3), np.ones(3))
