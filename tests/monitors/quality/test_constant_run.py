import json

import numpy as np
import pytest

from monitors.quality.constant_run import LEAST_ROWS, LONGER, ConstantRun


def run_of(answers, inputs, size=None):
    run = ConstantRun()
    answers = np.asarray(answers, np.float32).reshape(len(answers), -1)
    for start in range(0, len(answers), size or len(answers)):
        part = slice(start, start + (size or len(answers)))
        run.add(answers[part], [np.asarray(each)[part] for each in inputs])
    return run


def known(run):
    return run.rows, run.longest, run.varied


def test_the_run_at_the_end_is_followed_and_the_longest_before_is_kept():
    answers = [1, 1, 1, 2, 3, 3]
    assert known(run_of(answers, [np.arange(6)])) == (2, 3, True)
    assert known(run_of(answers, [np.zeros(6)])) == (2, 3, False)


@pytest.mark.parametrize("size", [1, 2, 7, 100])
@pytest.mark.parametrize("seed", range(3))
def test_how_rows_are_batched_changes_nothing(size, seed):
    rng = np.random.default_rng(seed)
    answers = rng.choice([0.0, -0.0, 1.0, np.nan], 300, p=[0.5, 0.2, 0.2, 0.1])
    inputs = [
        rng.choice([0.0, -0.0, np.nan], 300, p=[0.1, 0.1, 0.8]),
        rng.choice(np.array([b"a", b"b"], object), 300, p=[0.9, 0.1]),
        np.ones(300, np.int64),
    ]
    assert run_of(answers, inputs, size).state() == run_of(answers, inputs).state()


def test_a_run_is_too_long_by_itself_or_by_those_before():
    assert run_of([1, 2], [np.arange(2)]).limit == LEAST_ROWS
    long = [1] * 100 + [2]
    assert run_of(long, [np.arange(101)]).limit == LONGER * 100


def test_answers_that_are_no_numbers_make_no_run():
    assert known(run_of([np.nan] * 5, [np.arange(5)])) == (1, 1, False)


def test_without_inputs_it_says_so():
    run = run_of([1, 1, 1], [])
    assert (run.rows, run.varied, run.sees_inputs) == (3, False, False)


def test_goes_on_after_a_restart():
    run, again = run_of([1, 1], [np.zeros(2)]), ConstantRun()
    again.restore(json.loads(json.dumps(run.state())))
    for each in (run, again):
        each.add(np.ones((2, 1), np.float32), [np.array([0.0, 5.0])])
    assert known(run) == known(again) == (4, 0, True)
