"""What is not known: shown, and a ticket after a while; over as soon as it is known again."""

from __future__ import annotations

import pytest

from serving.channel.messages.findings import Unjudged
from serving.config import Incidents
from serving.incidents.causes import Key, grouped
from serving.incidents.deployments import Served
from serving.incidents.unknowns import AWAY_S, Unknowns
from serving.store.records import WatchState


@pytest.fixture
def saved():
    return {}


@pytest.fixture
def unknowns(bench, saved, clock):
    rules = Incidents(unknown_after_s=1000)
    bench.deployments.follow([Served("loans", "1", "r", rules)], clock.now)
    return Unknowns(bench.book, bench.deployments, saved.__setitem__, clock)


def blind(monitor="drift", kind="blind", why="the version has no profile"):
    return Unjudged("loans", "1", monitor, kind, why)


def kinds(unknowns):
    return {each.cause: each.kind for each in unknowns.listed()}


def test_a_verdict_that_went_stale_becomes_one_ticket(unknowns, bench, found, clock):
    unknowns.told(grouped([found(breached=False)]), [])
    assert unknowns.listed() == []
    unknowns.told(grouped([found(breached=None)]), [])
    [told] = unknowns.listed()
    assert (told.kind, told.ticket_at) == ("unknown", clock.now + 1000)
    clock.pass_s(999)
    unknowns.tick()
    assert not bench.active()
    clock.pass_s(1)
    for _ in range(3):
        unknowns.told(grouped([found(breached=None)]), [])
        unknowns.tick()
    [ticket] = bench.active()
    assert (ticket.severity, ticket.cause) == ("ticket", "performance/unknown")
    assert ticket.summary == (
        "performance of model 'loans' has been unknown for 17 min: "
        "stale: no labels for 2 hours; fine before that"
    )
    unknowns.told(grouped([found(breached=False)]), [])
    assert not bench.active()
    assert bench.told[-1][1].history[-1].note == "by itself: there is a verdict again"


def test_one_verdict_of_a_cause_is_enough(unknowns, found):
    fair = {"monitor": "fairness", "subject": "sex"}
    known, unknown = found(breached=False, **fair), found(breached=None, metric="ratio", **fair)
    unknowns.told(grouped([known, unknown]), [])
    assert unknowns.listed() == []


def test_what_nobody_wants_judged_is_not_unknown(unknowns, found):
    unknowns.told(grouped([found(breached=None, threshold=None, reason="no threshold set")]), [])
    assert unknowns.listed() == []


def test_a_monitor_that_cannot_run_is_a_ticket(unknowns, bench, clock):
    unknowns.told({}, [blind()])
    clock.pass_s(1000)
    unknowns.tick()
    [ticket] = bench.active()
    assert "drift of model 'loans' cannot be judged" in ticket.summary
    assert ticket.evidence.reason == "the version has no profile"


def test_a_monitor_that_fails_counts_although_its_last_verdict_stands(unknowns, found):
    unknowns.told(grouped([found(breached=False)]), [blind("performance", why="it failed: E")])
    assert kinds(unknowns) == {"performance": "blind"}
    unknowns.told(grouped([found(breached=False)]), [])
    assert kinds(unknowns) == {}


def test_a_first_window_may_take_as_long_as_it_wants(unknowns, bench, clock):
    unknowns.told({}, [blind(kind="waiting")])
    clock.pass_s(1_000_000)
    unknowns.tick()
    assert kinds(unknowns) == {"drift": "waiting"}
    assert unknowns.listed()[0].ticket_at is None
    assert not bench.active()


def test_a_new_version_without_a_verdict_is_silence_where_there_was_one(
    unknowns, bench, found, clock
):
    unknowns.told(grouped([found(breached=False, monitor="fairness", subject="sex")]), [])
    unknowns.told({}, [blind("fairness", "waiting")])
    clock.pass_s(1000)
    unknowns.tick()
    assert [each.cause for each in bench.active()] == ["fairness/unknown"]


def test_another_kind_of_silence_is_the_same_silence(unknowns, bench, saved, found, clock):
    unknowns.told(grouped([found(breached=False)]), [])
    unknowns.told(grouped([found(breached=None)]), [])
    began = clock.now
    for kind in ("blind", "waiting", "blind", "waiting"):
        clock.pass_s(250)
        unknowns.told({}, [blind("performance", kind)])
        assert saved["loans", "performance"].since == began
    unknowns.tick()
    assert [each.cause for each in bench.active()] == ["performance/unknown"]


def test_a_wait_for_a_first_window_is_no_silence(unknowns, bench, clock):
    unknowns.told({}, [blind(kind="waiting")])
    clock.pass_s(100_000)
    unknowns.told({}, [blind()])
    unknowns.tick()
    assert not bench.active()
    assert unknowns.listed()[0].since == clock.now


def test_that_there_was_a_verdict_is_kept(unknowns, saved):
    waits = blind("fairness", "waiting")
    unknowns.told({}, [waits])
    assert not saved["loans", "fairness"].judged
    sex = WatchState(model="loans", cause="fairness/sex", kind="known", since=1.0, judged=True)
    unknowns.restore([sex])  # the store could not be read before
    unknowns.told({}, [waits])
    assert saved["loans", "fairness"].judged


def test_incidents_of_a_monitor_that_is_switched_off_are_over(unknowns, bench, found):
    drift, sex = found(monitor="drift"), found(monitor="fairness", subject="sex")
    bench.judge(drift, sex, found())
    unknowns.told(grouped([drift, sex, found()]), [])
    unknowns.told(grouped([found()]), [blind("fairness", "waiting")])
    assert {each.cause for each in bench.active()} == {"performance", "fairness/sex"}
    event, over = bench.told[-1]
    assert (event, over.cause, over.state) == ("resolved", "drift", "resolved")
    assert over.history[-1].note == "by itself: it is judged no more"


def test_of_two_versions_one_verdict_is_enough(unknowns, found):
    unknowns.told(grouped([found(breached=False)]), [blind("performance", "waiting")])
    assert kinds(unknowns) == {}


def test_a_monitor_that_is_away_is_a_ticket_of_the_instance(unknowns, bench, clock):
    why = {"monitor": "the monitor is not there, so nobody judges model 'loans'"}
    unknowns.away(why)
    clock.pass_s(AWAY_S)
    unknowns.away(why)
    unknowns.tick()
    [ticket] = bench.active()
    assert (ticket.model, ticket.severity) == ("", "ticket")
    assert why["monitor"] in ticket.summary
    unknowns.away({})
    assert not bench.active()
    assert kinds(unknowns) == {}


def test_a_restart_goes_on_counting_but_gives_monitors_time(unknowns, bench, saved, found, clock):
    unknowns.told(grouped([found(breached=None)]), [])
    unknowns.away({"monitor": "it is not there"})
    kept = [each for each in saved.values() if each is not None]
    clock.pass_s(1000)
    again = Unknowns(bench.book, bench.deployments, saved.__setitem__, clock)
    again.restore(kept)
    again.away({"monitor": "it is not there"})
    again.tick()
    assert [each.cause for each in bench.active()] == ["performance/unknown"]


def test_a_ticket_of_a_monitor_that_is_back_since_the_restart_ends(unknowns, bench, clock):
    unknowns.away({"monitor": "it is not there"})
    clock.pass_s(AWAY_S)
    unknowns.tick()
    again = Unknowns(bench.book, bench.deployments, lambda *_: None, clock)
    again.away({})
    assert not bench.active()


def test_a_ticket_that_somebody_has_closed_stays_closed(unknowns, bench, found, clock):
    unknowns.told(grouped([found(breached=None)]), [])
    clock.pass_s(1000)
    unknowns.tick()
    bench.book.act(bench.active()[0], "resolve", "nobody uses it")
    for _ in range(3):
        clock.pass_s(100_000)
        unknowns.tick()
    assert not bench.active()
    unknowns.told(grouped([found(breached=False)]), [])
    unknowns.told(grouped([found(breached=None)]), [])
    clock.pass_s(1000)
    unknowns.tick()
    assert len(bench.active()) == 1


def test_what_is_not_served_is_forgotten(unknowns, bench, saved, found, clock):
    unknowns.told(grouped([found(breached=None)]), [])
    bench.deployments.follow([], clock.now)
    unknowns.tick()
    assert unknowns.listed() == []
    assert saved == {Key("loans", "performance"): None}
