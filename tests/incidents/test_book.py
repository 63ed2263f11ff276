"""From findings to incidents: opened once, raised, quiet, over, back, and what people decide."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from serving.channel.messages.causes import Cause
from serving.config import Incidents
from serving.errors import InvalidInput
from serving.incidents.book import COMES_BACK_S, new_id
from serving.incidents.deployments import Served
from serving.incidents.lifecycle import MOST_HISTORY
from serving.store.records import Kept


def test_a_breach_opens_one_incident_with_its_evidence(bench, found, clock):
    bench.judge(found())
    clock.pass_s(60)
    bench.judge(found(value=0.5))
    [incident] = bench.active()
    assert bench.events() == ["opened"]
    assert (incident.severity, incident.state, incident.cause) == ("page", "open", "performance")
    assert (incident.first.leading.value, incident.evidence.leading.value) == (0.6, 0.5)
    assert incident.evidence.since == clock.now - 120  # since the first window
    assert incident.evidence.leading.ci == (0.5, 0.7)
    assert incident.evidence.deployment.version == "1"
    assert incident.summary == (
        "performance of model 'loans' version 1: accuracy is 0.5, below 0.9"
    )


def test_what_is_told_again_changes_nothing(bench, found):
    one = found()
    bench.judge(one)
    told = len(bench.told)
    bench.judge(one)
    assert len(bench.told) == told


def test_columns_of_one_monitor_are_one_incident_and_attributes_are_two(bench, found):
    drift = {"monitor": "drift", "metric": "psi", "direction": "above", "threshold": 0.05}
    bench.judge(
        found(**drift, subject="age", value=0.2),
        found(**drift, subject="income", value=0.6),
        found(monitor="fairness", subject="sex", metric="demographic_parity_difference"),
        found(monitor="fairness", subject="age", metric="demographic_parity_difference"),
    )
    causes = {each.cause: each for each in bench.active()}
    assert causes.keys() == {"drift", "fairness/sex", "fairness/age"}
    assert [each.subject for each in causes["drift"].evidence.top] == ["income", "age"]
    assert causes["drift"].summary.endswith("psi of 'income' is 0.6, above 0.05, and 1 more")


def test_a_column_more_is_in_the_history(bench, found, clock):
    drift = {"monitor": "drift", "metric": "psi", "direction": "above", "threshold": 0.05}
    bench.judge(found(**drift, subject="age"))
    clock.pass_s(60)
    bench.judge(found(**drift, subject="age"), found(**drift, subject="income"))
    [incident] = bench.active()
    assert (incident.history[-1].what, incident.history[-1].note) == ("spread", "to 'income'")


def test_that_estimates_were_wrong_opens_nothing_and_that_they_are_low_does(bench, found):
    bench.judge(found(monitor="estimation", metric="brier_estimation_error"))
    assert not bench.active()
    bench.judge(found(monitor="estimation", metric="brier"))
    assert len(bench.active()) == 1


def test_drift_with_harm_is_raised_and_never_lowered(bench, found, clock):
    drift = {"monitor": "drift", "metric": "psi", "severity": "info"}
    bench.judge(found(**drift))
    assert bench.active()[0].severity == "info"
    clock.pass_s(60)
    bench.judge(found(**drift), harmed=True)
    clock.pass_s(60)
    bench.judge(found(**drift))
    assert bench.active()[0].severity == "ticket"
    assert bench.events() == ["opened", "escalated"]


def test_it_is_over_after_quiet_windows_and_time(bench, found, clock):
    bench.judge(found())
    for _ in range(3):
        clock.pass_s(40)
        bench.judge(found(breached=False))
        assert bench.active()
    clock.pass_s(40)
    bench.judge(found(breached=False))
    assert not bench.active()
    event, incident = bench.told[-1]
    assert (event, incident.state) == ("resolved", "resolved")
    assert incident.history[-1].note == "by itself: 4 windows without a breach"


def test_time_alone_ends_it_once_there_were_enough_windows(bench, found, clock):
    bench.judge(found())
    for _ in range(2):
        clock.pass_s(1)
        bench.judge(found(breached=False))
    bench.book.tick()
    assert bench.active()
    clock.pass_s(100)
    bench.book.tick()
    assert not bench.active()


def test_the_same_window_and_an_unknown_one_are_no_quiet(bench, found, clock):
    bench.judge(found())
    clock.pass_s(60)
    fine = found(breached=False)
    for _ in range(5):
        bench.judge(fine)
    for _ in range(5):
        clock.pass_s(60)
        bench.judge(found(breached=None))
    assert bench.active()[0].quiet_windows == 1


@pytest.mark.parametrize("subjects", [["age"], ["age", "sex"]])
def test_it_is_not_over_while_what_has_breached_is_unknown(bench, found, clock, subjects):
    drift = {"monitor": "drift", "metric": "psi", "direction": "above", "threshold": 0.05}
    bench.judge(*(found(**drift, subject=each) for each in subjects))
    other = {**drift, "breached": False, "subject": "income"}
    for _ in range(5):
        clock.pass_s(60)
        bench.judge(found(**drift | {"breached": None}, subject="age"), found(**other))
    assert [each.quiet_windows for each in bench.active()] == [0]
    for _ in range(3):
        clock.pass_s(60)
        unknown = found(**drift | {"breached": None}, subject="never judged")
        bench.judge(found(**drift | {"breached": False}, subject="age"), found(**other), unknown)
    assert not bench.active()


def test_a_breach_in_between_begins_the_quiet_anew(bench, found, clock):
    bench.judge(found())
    clock.pass_s(200)
    bench.judge(found(breached=False))
    clock.pass_s(200)
    bench.judge(found())
    assert bench.active()[0].quiet_windows == 0
    assert bench.active()[0].quiet_since is None


def over(bench, found, clock):
    bench.judge(found())
    for _ in range(2):
        clock.pass_s(100)
        bench.judge(found(breached=False))
    assert not bench.active()


def test_what_comes_back_soon_is_the_same_incident(bench, found, clock):
    over(bench, found, clock)
    clock.pass_s(60)
    bench.judge(found())
    [incident] = bench.active()
    assert (incident.id, incident.reopened, incident.closed_at) == ("i0", 1, None)
    assert bench.events() == ["opened", "resolved", "reopened"]


def test_what_comes_back_late_is_another_one(bench, found, clock):
    over(bench, found, clock)
    clock.pass_s(COMES_BACK_S + 1)
    bench.judge(found())
    assert [each.id for each in bench.active()] == ["i1"]


def test_windows_that_are_judged_again_after_a_restart_open_nothing(bench, found, clock):
    before = found()
    over(bench, found, clock)
    bench.judge(before)
    assert not bench.active()


def test_a_clock_that_was_set_back_hides_nothing_for_ever(bench, found, clock):
    over(bench, found, clock)
    clock.pass_s(-86_400)
    bench.judge(found())
    assert len(bench.active()) == 1


@pytest.mark.parametrize("action", ["resolve", "false_alarm"])
def test_what_somebody_has_closed_stays_closed_while_the_breach_goes_on(
    bench, found, clock, action
):
    bench.judge(found())
    bench.book.act(bench.active()[0], action, "known")
    for _ in range(5):
        clock.pass_s(60)
        bench.judge(found())
    assert not bench.active()
    assert len(bench.events()) == 2


def test_a_false_alarm_is_news_again_after_quiet_windows(bench, found, clock):
    bench.judge(found())
    bench.book.act(bench.active()[0], "false_alarm", "")
    for _ in range(2):
        clock.pass_s(60)
        bench.judge(found(breached=False))
    clock.pass_s(COMES_BACK_S)
    bench.judge(found())
    assert [each.id for each in bench.active()] == ["i1"]


def test_what_was_resolved_and_breaches_on_comes_back_after_an_hour(bench, found, clock):
    bench.judge(found())
    bench.book.act(bench.active()[0], "resolve", "")
    clock.pass_s(COMES_BACK_S + 1)
    bench.judge(found())
    assert [each.id for each in bench.active()] == ["i0"]


def test_what_was_closed_and_becomes_worse_comes_back(bench, found, clock):
    bench.judge(found(severity="ticket"))
    bench.book.act(bench.active()[0], "false_alarm", "")
    clock.pass_s(60)
    bench.judge(found(severity="page"))
    assert bench.active()[0].severity == "page"


def test_people_acknowledge_resolve_and_change_their_minds(bench, found):
    bench.judge(found())
    incident = bench.book.act(bench.active()[0], "acknowledge", "on it\n\x1b[2J")
    assert (incident.state, incident.history[-1].note) == ("acknowledged", "on it\\n\\x1b[2J")
    assert bench.book.act(incident, "acknowledge", "") is incident
    incident = bench.book.act(incident, "resolve", "")
    with pytest.raises(InvalidInput, match="is over"):
        bench.book.act(incident, "acknowledge", "")
    assert bench.book.act(incident, "false_alarm", "").state == "false_alarm"
    assert bench.book.find(incident.id).state == "false_alarm"


def test_drift_waits_for_a_new_version_to_warm_up(bench, found, clock):
    rules = Incidents(warm_up_s=300)
    bench.deployments.follow([Served("loans", "2", "r2", rules)], clock.now)
    drift = {"monitor": "drift", "metric": "psi", "severity": "info", "version": "2"}
    clock.pass_s(299)
    bench.judge(found(**drift))
    assert not bench.active()
    bench.judge(found(version="2"))  # which is worse
    assert [each.cause for each in bench.active()] == ["performance"]
    clock.pass_s(2)
    bench.judge(found(**drift))
    assert {each.cause for each in bench.active()} == {"performance", "drift"}


def test_broken_data_explains_drift(bench, found):
    drift = {"monitor": "drift", "metric": "psi", "severity": "info"}
    bench.judge(found(**drift), broken=True)
    assert not bench.active()


def test_a_rule_that_calls_wolf_is_lowered_and_says_so(bench, found, clock):
    for number in range(4):
        bench.judge(found())
        [incident] = bench.active()
        if number < 3:
            bench.book.act(incident, "false_alarm", "")
            for _ in range(2):
                clock.pass_s(COMES_BACK_S)
                bench.judge(found(breached=False))
            clock.pass_s(COMES_BACK_S)
    assert (incident.severity, incident.demoted_from) == ("ticket", "page")


def test_it_goes_on_after_a_restart(bench, found, clock):
    bench.judge(found())
    kept = Kept(active=tuple(bench.active()))
    bench.book = bench.make_book()
    bench.book.restore(kept)
    clock.pass_s(60)
    bench.judge(found())
    assert [each.id for each in bench.active()] == ["i0"]
    assert bench.events() == ["opened"]


def test_what_was_opened_before_the_store_could_be_read_becomes_what_was_kept(bench, found):
    bench.judge(found())
    kept = Kept(active=tuple(bench.active()))
    bench.book = bench.make_book()
    bench.judge(found(value=0.4))
    bench.book.restore(kept)
    [incident] = bench.active()
    assert (incident.id, incident.evidence.leading.value) == ("i0", 0.4)
    event, duplicate = bench.told[-1]
    assert (event, duplicate.id, duplicate.active) == ("resolved", "i1", False)


def test_what_is_not_served_any_more_is_over(bench, found):
    bench.judge(found())
    bench.book.forget_unserved({"other"})
    assert not bench.active()


def test_history_is_bounded_and_keeps_its_beginning(bench, found):
    bench.judge(found())
    incident = bench.active()[0]
    for _ in range(MOST_HISTORY):
        incident = bench.book.act(incident, "resolve", "")
        incident = bench.book.act(incident, "false_alarm", "")
    assert len(incident.history) == MOST_HISTORY
    assert incident.history[0].what == "opened"


def test_ids_can_be_typed():
    made = {new_id() for _ in range(100)}
    assert len(made) == 100
    assert all(len(each) == 8 and each.isalnum() and each.islower() for each in made)


FOUND = Cause(summary="concept shift: other truths", known=True, about="0 page", at=7.0)


def test_a_cause_is_evidence_and_told_once(bench, found, clock):
    bench.judge(found())
    [incident] = bench.active()
    bench.book.explain(incident.id, FOUND)
    bench.book.explain(incident.id, replace(FOUND, about="0 other"))
    clock.pass_s(60)
    bench.judge(found(value=0.5))
    [incident] = bench.active()
    assert incident.evidence.cause.summary == FOUND.summary
    assert incident.evidence.cause.about == "0 other"
    assert bench.events() == ["opened", "explained"]
    assert [(each.what, each.note) for each in incident.history][-1] == ("explained", FOUND.summary)


def test_why_there_is_no_cause_is_evidence_and_told_to_nobody(bench, found):
    bench.judge(found())
    [incident] = bench.active()
    unknown = Cause(summary="the cause is not known: no labels")
    bench.book.explain(incident.id, unknown)
    assert bench.active()[0].evidence.cause == unknown
    assert bench.events() == ["opened"]
    bench.book.explain(incident.id, FOUND)
    bench.book.explain(incident.id, unknown)
    assert bench.active()[0].evidence.cause == FOUND  # which stays said


def test_a_cause_of_what_is_over_is_nobodys(bench, found):
    bench.judge(found())
    [incident] = bench.active()
    over = bench.book.act(incident, "resolve", "")
    bench.book.explain(incident.id, FOUND)
    assert bench.book.find(incident.id) == over
