"""Levels of streams."""

import numpy as np
import pytest

from monitors.alarms.level import Level


def learn(level, seen, days=28.0, between=0.0, ready=True):
    level.learn(
        np.array([ready]), np.array([seen]), between=np.array([between]), factor=np.ones(1),
        rows=np.array([1000.0]), days=np.array([days]),
    )  # fmt: skip


def test_it_is_learnt_as_far_as_the_reference_leaves_it_open():
    level = Level(np.array([1 / 5000]))
    learn(level, 0.02)
    assert level.offset[0] == pytest.approx(0.02, rel=0.01)
    learn(level, 3.0)
    assert level.offset[0] == pytest.approx(2.5 / 5000**0.5, rel=0.01)


def test_what_is_open_narrows_with_days():
    level = Level(np.array([1 / 5000]))
    found = []
    for days in (2.0, 7.0, 28.0):
        learn(level, 0.0, days, between=0.01)
        found.append(level.open[0])
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(0.01 / 28, rel=0.1)


def test_a_stream_without_history_keeps_its_level():
    level = Level(np.array([1 / 5000]))
    learn(level, 0.02, ready=False)
    assert level.offset[0] == 0
