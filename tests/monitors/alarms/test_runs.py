"""Runs of windows that are far off."""

import numpy as np

from monitors.alarms.runs import Runs

LEARNT = np.ones(1, bool)


def show(runs, values, first=0.0):
    return [
        runs.score(np.array([value]), first + 600.0 * at, LEARNT)[0]
        for at, value in enumerate(values)
    ]


def test_the_score_grows_with_the_run_and_one_window_has_none():
    scores = show(Runs(1), [0.0, 9.0, 9.0, 9.0, 9.0])
    assert scores[1] == 0
    assert 0 < scores[2] < scores[3] < scores[4]
    assert scores[4] > 4.5


def test_the_other_side_begins_a_new_run():
    runs = Runs(1)
    show(runs, [9.0, 9.0, -9.0])
    assert runs.length[0] == 1
    assert runs.since[0] == 1200


def test_where_outliers_come_in_bursts_runs_prove_less():
    bursty, single = Runs(1), Runs(1)
    for day in range(5):
        show(bursty, ([0.0] * 46 + [9.0, 9.0]) * 3, day * 86400.0)
        show(single, ([0.0] * 23 + [9.0]) * 6, day * 86400.0)
        for runs in (bursty, single):
            runs.turn()
    assert show(bursty, [9.0] * 4)[-1] < show(single, [9.0] * 4)[-1]


def test_what_is_dropped_is_not_learnt():
    runs = Runs(1)
    show(runs, [9.0] * 50)
    runs.drop(LEARNT, True)
    runs.turn()
    runs.turn()
    assert runs.sums.sum() == 0
