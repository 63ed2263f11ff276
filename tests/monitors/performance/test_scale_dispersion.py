import json

import numpy as np
import pytest

from monitors.performance.metrics.class_counts import ClassCounts
from monitors.performance.metrics.class_metrics import class_metrics
from monitors.performance.metrics.estimate import Outcomes
from monitors.performance.scale_dispersion import ScaleDispersion
from monitors.windows.aged_blocks import AgedBlocks

COUNTS = ClassCounts(0, 0, scored=False)
METRICS = class_metrics(COUNTS)


def learnt(rates, repeats=1, size=200, seed=0):
    rng = np.random.default_rng(seed)
    blocks, found = AgedBlocks(COUNTS.columns), ScaleDispersion(METRICS)
    for at, rate in enumerate(rates):
        right = np.repeat(rng.random(size // repeats) < rate, repeats).astype(int)
        sums = blocks.open(float(at), [at * size])
        COUNTS.add(sums, Outcomes(right, np.ones(size, int)))
        blocks.close()
        found.closed(blocks)
    return found


def factors(found):
    return found.factors("accuracy", np.array([1, 3, 4, 16, 64, 250])).tolist()


def test_independent_rows_have_a_factor_of_one():
    assert max(factors(learnt([0.8] * 400))) < 1.5


def test_rows_that_come_five_times_have_five():
    assert factors(learnt([0.8] * 600, repeats=5))[0] == pytest.approx(5, rel=0.3)


def test_slow_variation_is_seen_on_long_scales():
    rates = 0.8 + 0.05 * np.sin(np.arange(600) / 32 * 2 * np.pi)
    short, _, _, longer, *_ = factors(learnt(rates))
    assert short < 1.5
    assert longer > 2


def test_a_lasting_loss_is_a_single_step():
    rates = [0.9] * 200 + [0.6] * 200
    assert max(factors(learnt(rates))) < 2.5


def test_state_brings_it_back():
    found, again = learnt([0.8] * 60, repeats=5), ScaleDispersion(METRICS)
    again.restore(json.loads(json.dumps(found.state())))
    assert factors(again) == factors(found)
    again.restore({})
    assert factors(again) == factors(found)
