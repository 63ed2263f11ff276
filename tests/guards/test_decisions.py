import numpy as np

from guards.decisions import Action, Decisions


def test_found_tells_of_rows_that_did_not_pass_in_their_order():
    action = np.array([0, Action.REJECT, 0, Action.SHADOW], dtype=np.uint8)
    found = Decisions("any", action, {3: "odd", 1: "wrong"}).found()
    assert found == ((1, 3, "wrong"), (3, 1, "odd"))
    assert [type(value) for value in found[0]] == [int, int, str]


def test_found_has_no_reason_where_the_guard_gave_none():
    assert Decisions("any", np.array([2], dtype=np.uint8), {}).found() == ((0, 2, ""),)


def test_found_of_rows_that_all_pass_and_of_no_rows():
    assert Decisions("any", np.zeros(4, np.uint8), {}).found() == ()
    assert Decisions("any", np.zeros(0, np.uint8), {}).found() == ()
