"""Alarms that stand."""

import numpy as np

from monitors.alarms.standing import Standing

DEFINED = np.ones(1, bool)


def alarmed(mean=1.0):
    standing = Standing(1)
    standing.begin(
        DEFINED,
        scale=0,
        length=1,
        since=60.0,
        score=np.array([6.0]),
        expected=np.zeros(1),
        mean=np.array([mean]),
    )
    return standing


def follow(standing, values):
    return [bool(standing.follow(np.array([value]), DEFINED)[0]) for value in values]


def test_an_alarm_ends_only_after_some_windows_that_are_back():
    standing = alarmed()
    ended = follow(standing, [0.0] * 12)
    assert ended.count(True) == 1
    assert ended.index(True) >= 6
    assert np.isnan(standing.since[0])


def test_a_window_back_among_others_does_not_end_it():
    standing = alarmed()
    assert not any(follow(standing, [1.0, 1.0, 0.0] * 10))
    assert standing.since[0] == 60


def test_evidence_only_grows():
    standing = alarmed()
    standing.strengthen(np.array([3.0]))
    assert standing.score[0] == 6
    standing.strengthen(np.array([8.0]))
    assert standing.score[0] == 8
