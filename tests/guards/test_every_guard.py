"""What holds for every guard, whatever it looks for."""

import copy

import numpy as np
from numpy.testing import assert_equal

from guards.decisions import Action


def test_stops_the_rows_it_should_and_says_why(case):
    decisions = case.check()
    assert np.flatnonzero(decisions.action == Action.REJECT).tolist() == case.stopped
    assert sorted(decisions.reasons) == case.stopped
    assert decisions.guard == case.guard.name
    assert decisions.action.dtype == np.uint8


def test_is_deterministic(case):
    assert_equal(vars_of(case.check()), vars_of(case.check()))


def vars_of(decisions):
    return {name: getattr(decisions, name) for name in type(decisions).__slots__}


def test_rows_are_judged_one_by_one(case):
    whole = case.check()
    for row in range(len(whole.action)):
        alone = case.check(slice(row, row + 1))
        assert alone.action[0] == whole.action[row]
        assert alone.reasons.get(0) == whole.reasons.get(row)


def test_does_not_write_to_its_arguments(case):
    before = copy.deepcopy((case.inputs, case.features))
    for array in [*case.inputs.values(), case.features]:
        if array is not None:
            array.flags.writeable = False
    case.check()
    assert_equal((case.inputs, case.features), before)


def test_a_batch_without_rows_is_empty(case):
    decisions = case.check(slice(0, 0))
    assert decisions.action.shape == (0,)
    assert decisions.reasons == {}


def test_reasons_hold_no_numbers_that_an_attacker_could_climb(case):
    decisions = case.check()
    for row, reason in decisions.reasons.items():
        if decisions.score is not None:
            assert f"{decisions.score[row]:.3g}" not in reason
        for values in case.inputs.values():
            assert "-1" not in reason or values[row].min() != -1
