"""An incident is a change's own, missing, or wrong."""

from __future__ import annotations

from serving.demo.traffic.comparison import compare
from serving.demo.traffic.record import Seen
from serving.demo.traffic.schedule import CONCEPT, DRIFT, FAIRNESS
from serving.demo.traffic.words import outcome

PLANTED = (DRIFT, FAIRNESS, CONCEPT)


def incidents(make):
    return [
        Seen(9, make(id="d", cause="drift", severity="info")),
        Seen(13, make(id="f", cause="fairness/sex", severity="ticket")),
        Seen(19, make(id="p")),
    ]


def test_what_was_planted_and_nothing_else_is_right(make_incident):
    compared = compare(PLANTED, incidents(make_incident))
    assert compared.right
    assert [seen.incident.id for _, seen in compared.found] == ["d", "f", "p"]
    *lines, last = outcome(compared)
    assert lines[0] == "found    08:00 drift: info d, 1 h 00 min later"
    assert last == "Vigil said what was planted, and nothing else."


def test_one_that_lacks_is_missing(make_incident):
    compared = compare(PLANTED, incidents(make_incident)[1:])
    assert not compared.right
    assert not compared.wrong
    assert next(outcome(compared)) == "missing  08:00 drift: Vigil opened no info of it"


def test_one_before_its_change_is_wrong_and_none_of_it(make_incident):
    early = Seen(5, make_incident(cause="drift", severity="info"))
    compared = compare(PLANTED, [early])
    assert compared.wrong == (early,)
    assert compared.found[0][1] is None


def test_one_of_another_model_cause_or_severity_is_wrong(make_incident):
    others = [
        Seen(20, make_incident(model="cancer")),
        Seen(20, make_incident(cause="data_quality")),
        Seen(20, make_incident(severity="ticket")),
    ]
    compared = compare(PLANTED, [*incidents(make_incident), *others])
    assert compared.wrong == tuple(others)
    assert not compared.right
    assert [line[:5] for line in outcome(compared)].count("wrong") == 3


def test_of_a_clean_day_nothing_is_right():
    assert compare((), ()).right
