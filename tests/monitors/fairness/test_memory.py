import itertools
import json

import numpy as np

from monitors.fairness.memory import Memory
from monitors.windows.ageing import OLDEST


def counts(number, groups=1):
    return np.full((groups, 1), float(number))


def filled(windows):
    memory = Memory()
    memory.begin(0.0, 1)
    for number in range(1, windows + 1):
        memory.close(float(number), counts(number))
    return memory


def test_lookbacks_hold_what_was_counted_since():
    found = filled(6).lookbacks(counts(6))
    assert [each.windows for each in found] == [1, 2, 3, 4, 5, 6]
    for each in found:
        assert each.counts.tolist() == [[each.windows]]
        assert each.since == 6 - each.windows


def test_moments_grow_rarer_with_age_and_end():
    memory = filled(5000)
    lengths = [each.windows for each in memory.lookbacks(counts(5000))]
    assert lengths[:4] == [1, 2, 3, 4]
    assert lengths[-1] <= OLDEST < lengths[-1] * 1.2
    assert len(lengths) < 40
    for shorter, longer in itertools.pairwise(lengths):
        assert longer - shorter <= max(longer // 3, 1)


def test_groups_that_came_later_are_counted_from_nothing():
    found = filled(2).lookbacks(np.array([[2.0], [5.0]]))
    assert found[0].counts.tolist() == [[1], [5]]


def test_what_was_moved_away_is_never_negative():
    assert filled(2).lookbacks(counts(0.5))[0].counts.tolist() == [[0]]


def test_state_brings_it_back():
    memory, again = filled(40), Memory()
    again.restore(json.loads(json.dumps(memory.state())), 1)
    for one, other in zip(memory.lookbacks(counts(40)), again.lookbacks(counts(40)), strict=True):
        assert one[:2] == other[:2]
        assert (one.counts == other.counts).all()
    assert again.windows == 40
