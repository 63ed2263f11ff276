"""Time scales: their means, and what was known before them."""

from itertools import pairwise

import numpy as np
import pytest

from monitors.alarms.scales import Scales, lengths_for


def push(scales, values):
    looks = []
    for at, value in enumerate(values):
        block = np.array([[1.0], [value], [0.01], [0.0]])
        looks.append(scales.push(block, 600.0 * at))
    return looks


def test_each_look_is_the_mean_of_its_windows():
    values = np.random.default_rng(0).normal(0, 1, 60)
    scales = Scales((1, 2, 6, 12), 1)
    for at, looks in enumerate(push(scales, values)):
        for look in looks:
            length = scales.lengths[look.index]
            if at + 1 < length:
                continue
            assert look.mean[0] == pytest.approx(values[at + 1 - length : at + 1].mean())
            assert look.sampling[0] == pytest.approx(0.01 / length)
            assert look.since == 600.0 * (at + 1 - length)


def test_what_was_before_does_not_know_the_windows_of_the_scale():
    scales = Scales((1, 2, 6, 12), 1)
    looks = push(scales, [0.0] * 24 + [1.0] * 6)
    hour = next(look for look in looks[-1] if look.index == 2)
    assert hour.mean[0] == 1
    assert (hour.before == 0).all()
    window = looks[-1][0]
    assert window.before[0, 0] == 1


@pytest.mark.parametrize("interval", [1, 10, 60, 600, 3600, 86400])
def test_lengths_are_multiples_of_each_other_and_reach_a_day(interval):
    lengths = lengths_for(interval)
    assert lengths[:2] == (1, 2)
    assert all(longer % shorter == 0 for shorter, longer in pairwise(lengths))
    assert lengths[-1] * interval == pytest.approx(86400, rel=0.1) or interval > 600


def test_settled_streams_have_been_at_their_level_all_the_time():
    scales = Scales((1, 2, 6, 12), 1)
    push(scales, np.arange(24.0))
    scales.settle(np.array([True]), np.array([5.0]))
    looks = scales.push(np.array([[1.0], [5.0], [0.01], [0.0]]), 0)
    assert all(look.mean[0] == 5 and (look.before == 5).all() for look in looks)
