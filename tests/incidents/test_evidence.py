"""Which measurement says most."""

from __future__ import annotations

import pytest

from serving.channel.messages.incidents import LastDeployment
from serving.incidents.evidence import TOP, evidence_of
from serving.incidents.sentences import advice, ago, how_sure, measurement, number, summary


def names(evidence):
    return [each.subject for each in evidence.top]


def test_what_is_furthest_off_leads(found, clock):
    above = {"direction": "above", "threshold": 0.1}
    breached = [
        found(subject="a", value=0.2, **above),
        found(subject="b", value=0.9, **above),
        found(subject="c", value=0.05, direction="below", threshold=0.9),
        found(subject="d", value=None, **above),
    ]
    evidence = evidence_of(breached, clock.now, None)
    assert names(evidence) == ["c", "b", "a", "d"]
    assert (evidence.leading.subject, evidence.breached) == ("c", 4)
    assert evidence.since == clock.now - 60


def test_severity_and_what_is_named_come_first(found, clock):
    above = {"direction": "above", "threshold": 0.1}
    breached = [
        found(subject="", value=9.0, **above),
        found(subject="a", value=0.2, **above),
        found(subject="p", value=0.11, severity="page", **above),
        found(subject="z", value=0.2, threshold=0.0, direction="above", severity="info"),
    ]
    for each in breached[:2]:
        assert each.severity == "page"
    assert names(evidence_of(breached, clock.now, None))[0] == "a"
    assert names(evidence_of(breached, clock.now, None))[-1] == "z"


def test_only_the_top_is_kept(found, clock):
    breached = [found(subject=f"c{number}") for number in range(50)]
    evidence = evidence_of(breached, clock.now, None)
    assert (len(evidence.top), evidence.breached) == (TOP, 50)
    assert evidence_of(breached[:1], clock.now, None).top == ()


def test_what_the_monitor_says_of_it_counts_and_is_kept(found, clock):
    one = found(subject="age", since=clock.now - 500, detail={"moved": "tail", "histogram": [1, 2]})
    evidence = evidence_of([one, found()], clock.now, None)
    assert evidence.since == clock.now - 500
    assert evidence.leading.detail == {"moved": "tail", "histogram": [1, 2]}
    assert measurement(evidence.leading).endswith("is 0.6, below 0.9 (tail has moved)")


def test_what_tells_how_it_was_found_goes_before_another_figure_of_the_same(found, clock):
    same = {"subject": "age", "p_value": 1e-9, "threshold": None}
    told = found(metric="psi", detail={"moved": "location"}, **same)
    for breached in ([found(metric="ks", **same), told], [told, found(metric="ks", **same)]):
        assert evidence_of(breached, clock.now, None).leading.metric == "psi"


@pytest.mark.parametrize(
    ("before_s", "before", "named"), [(1200, "2", True), (200_000, "2", False), (1200, "", False)]
)
def test_a_deployment_shortly_before_is_named_first(found, clock, before_s, before, named):
    breached = [found()]
    deployment = LastDeployment("3", clock.now - 60 - before_s, before)
    said = advice("loans", "performance", evidence_of(breached, clock.now, deployment))
    told = said.startswith("version 3 was deployed 20 min before: consider going back to 2; else ")
    assert told is named
    assert "vigil predictions loans" in said


def test_a_summary_says_where(found, clock):
    evidence = evidence_of([found(subject="age", segment="sex = 'F'")], clock.now, None)
    assert summary("m", "drift", evidence) == (
        "drift of model 'm' version 1: accuracy of 'age' where sex = 'F' is 0.6, below 0.9"
    )
    assert how_sure(evidence.leading) == "interval 0.5 to 0.7, 200 rows"
    assert measurement(evidence_of([found(threshold=None)], 0, None).leading) == "accuracy is 0.6"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0 s"), (59, "59 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_times_are_short(seconds, said):
    assert ago(seconds) == said
    assert number(None) == "unknown"
