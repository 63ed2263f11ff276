"""What became of rows in guards."""

from __future__ import annotations

import numpy as np

import monitors.rows
from guards.decisions import Action
from serving.channel.messages import observation
from serving.channel.messages.observation import FLAGGED, PASSED, UNJUDGED
from serving.dataplane.hooks.guarded_rows import GuardedRows
from serving.dataplane.requests.decisions import RowDecision

FLAG = int(Action.FLAG)


def test_numbers_are_those_of_the_monitors():
    for name in ("PASSED", "FLAGGED", "UNJUDGED"):
        assert getattr(observation, name) == getattr(monitors.rows, name)


def test_scores_say_which_rows_were_judged_and_flagged():
    scores = {"far": np.array([0.5, 1.5, np.nan, 1.0], np.float32)}
    found = GuardedRows(["far"]).became([1, 3], [(), ()], scores)
    assert found["far"].tolist() == [PASSED, FLAGGED, UNJUDGED, PASSED]
    assert found["far"].dtype == np.uint8


def test_without_scores_decisions_say_it_at_the_rows_of_their_requests():
    made = [(), (RowDecision("schema", 1, FLAG, "out of range"),)]
    found = GuardedRows(["schema"]).became([2, 3], made, None)
    assert found["schema"].tolist() == [PASSED, PASSED, PASSED, FLAGGED, PASSED]


def test_a_guard_whose_scores_are_missing_has_judged_nothing():
    guarded = GuardedRows(["far"])
    guarded.became([1], [()], {"far": np.array([0.5], np.float32)})
    closed = [(RowDecision("far", 0, int(Action.REJECT), "could not judge"),)]
    assert guarded.became([1], closed, None) == {}


def test_other_guards_are_not_told_of():
    made = [(RowDecision("other", 0, FLAG, ""),)]
    assert GuardedRows(["schema"]).became([1], made, None)["schema"].tolist() == [PASSED]
    assert not GuardedRows([])
