"""Whose cause is looked for, when, and when again."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from serving.channel.messages.causes import Cause
from serving.incidents.wanted_causes import AGAIN_S, LONGEST_S, SETTLE_S, WantedCauses

FOUND = Cause(summary="concept shift: other truths", known=True)
NOT_FOUND = Cause(summary="the cause is not known: no labels")


@pytest.fixture
def wanted(clock):
    return WantedCauses(clock)


def opened(bench, found, clock, **more):
    bench.judge(found(**more))
    clock.pass_s(SETTLE_S)
    return bench.active()[-1]


def test_a_loss_is_explained_once_its_rows_are_in_the_log(bench, found, clock, wanted):
    bench.judge(found(since=clock.now - 300))
    assert wanted.next(bench.active()) is None
    clock.pass_s(SETTLE_S)
    asked = wanted.next(bench.active())
    assert asked.asked.model == "loans"
    assert (asked.asked.metric, asked.asked.attribute) == ("accuracy", "")
    assert asked.asked.since == clock.now - SETTLE_S - 300


def test_a_gap_is_explained_by_its_attribute(bench, found, clock, wanted):
    metric = "demographic_parity_difference"
    opened(bench, found, clock, monitor="fairness", subject="sex", metric=metric)
    asked = wanted.next(bench.active()).asked
    assert (asked.metric, asked.attribute) == (metric, "sex")


def test_drift_and_quality_explain_themselves(bench, found, clock, wanted):
    opened(bench, found, clock, monitor="drift", metric="psi", subject="age")
    assert wanted.next(bench.active()) is None


def test_what_is_explained_is_not_wanted_again_until_it_is_worse(bench, found, clock, wanted):
    ratio = {"monitor": "fairness", "subject": "sex", "severity": "ticket"}
    opened(bench, found, clock, **ratio)
    one = wanted.next(bench.active())
    bench.book.explain(one.ident, explained(FOUND, one))
    assert wanted.next(bench.active()) is None
    opened(bench, found, clock, **{**ratio, "severity": "page"})
    assert wanted.next(bench.active()).about == "0 page"


def test_what_comes_back_is_wanted_again(bench, found, clock, wanted):
    opened(bench, found, clock)
    one = wanted.next(bench.active())
    bench.book.explain(one.ident, explained(FOUND, one))
    for _ in range(3):
        clock.pass_s(60)
        bench.judge(found(breached=False))
    clock.pass_s(60)
    bench.book.tick()
    assert bench.active() == []
    incident = opened(bench, found, clock)
    assert wanted.next([incident]).about == "1 page"


def test_in_vain_it_is_tried_again_after_pauses_that_grow(bench, found, clock, wanted):
    opened(bench, found, clock)
    for pause in (AGAIN_S, 2 * AGAIN_S, 4 * AGAIN_S):
        one = wanted.next(bench.active())
        wanted.tried(one)
        bench.book.explain(one.ident, explained(NOT_FOUND, one))
        clock.pass_s(pause - 1)
        assert wanted.next(bench.active()) is None
        clock.pass_s(1)
    for _ in range(20):
        wanted.tried(wanted.next(bench.active()))
        clock.pass_s(LONGEST_S)


def test_after_a_restart_only_what_is_not_known_is_wanted(bench, found, clock, wanted):
    opened(bench, found, clock)
    one = wanted.next(bench.active())
    wanted.tried(one)
    assert WantedCauses(clock).next(bench.active()) == one
    bench.book.explain(one.ident, explained(FOUND, one))
    assert WantedCauses(clock).next(bench.active()) is None


def explained(cause, one):
    return replace(cause, about=one.about)
