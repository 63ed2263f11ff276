"""Which rules are believed less."""

from __future__ import annotations

import pytest

from serving.incidents import false_alarms as module
from serving.incidents.false_alarms import REMEMBERED_S, FalseAlarms
from serving.store.records import Closed

RULE = ("m", "drift", "psi")


@pytest.fixture
def rules(clock):
    return FalseAlarms(lambda _: 0.5, clock)


def closed(clock, states, rule=RULE):
    return [
        Closed(f"{rule[1]}{number}", *rule, state, clock.now) for number, state in enumerate(states)
    ]


@pytest.mark.parametrize(
    ("states", "steps"),
    [
        ([], 0),
        (["false_alarm"] * 2, 0),  # too few to tell
        (["false_alarm"] * 3, 1),
        (["false_alarm"] * 3 + ["resolved"] * 2, 1),
        (["false_alarm"] * 3 + ["resolved"] * 3, 0),  # just the budget
        (["false_alarm"] * 6, 2),
        (["false_alarm"] * 6 + ["resolved"] * 6, 0),
    ],
)
def test_more_than_its_budget(rules, clock, states, steps):
    rules.restore(closed(clock, states))
    assert rules.steps(RULE) == steps
    assert [each.steps for each in rules.demoted()] == ([steps] if steps else [])


def test_each_rule_for_itself_and_only_for_a_while(rules, clock):
    rules.restore(closed(clock, ["false_alarm"] * 3))
    assert rules.steps(("m", "drift", "ks")) == 0
    [told] = rules.demoted()
    assert (told.model, told.false_alarms, told.incidents, told.budget) == ("m", 3, 3, 0.5)
    clock.pass_s(REMEMBERED_S + 1)
    assert rules.steps(RULE) == 0


def test_memory_is_bounded(rules, clock, monkeypatch):
    monkeypatch.setattr(module, "MOST", 10)
    rules.restore(closed(clock, ["false_alarm"] * 100))
    assert rules.demoted()[0].incidents == 10
