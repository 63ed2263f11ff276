"""All of it together with a real database: findings in, incidents, messages and answers out."""

from __future__ import annotations

import pytest

from serving.channel.messages.causes import Cause
from serving.channel.messages.findings import FindingsChanged, Unjudged
from serving.channel.messages.incidents import IncidentOrder, IncidentQuery
from serving.config import Incidents, Webhook
from serving.errors import InvalidInput, ModelNotReady, NotFound
from serving.incidents import service as module
from serving.incidents.deployments import Served
from serving.incidents.service import IncidentService
from serving.store.database import Database, url_of
from serving.store.failures import StoreFailed
from serving.store.incident_store import IncidentStore
from serving.telemetry.counters import SeriesSet

HOOK = Webhook.model_validate({"name": "r", "url": "http://127.0.0.1:1/x", "min_severity": "info"})
RULES = Incidents(quiet_windows=1, quiet_s=0, warm_up_s=0)


class NoStore:
    def __getattr__(self, name):
        def fail(*_):
            raise StoreFailed("away")

        return fail


@pytest.fixture
def file(tmp_path):
    return lambda: IncidentStore(Database(url_of(None, tmp_path)))


@pytest.fixture
async def make(file, clock, monkeypatch):
    monkeypatch.setattr(module, "TICK_S", 0.01)
    made = []

    def start(store=file, webhooks=(HOOK,)):
        series = SeriesSet()
        service = IncidentService(store, webhooks, series, clock)
        service.series = series
        service.follow([Served("loans", "1", "r", RULES)])
        service.start()
        made.append(service)
        return service

    yield start
    for each in made:
        await each.stop()


async def all_of(service, **query):
    return (await service.listed(IncidentQuery(**query))).incidents


async def opened(service, eventually, found, **more):
    """Have a breach told, and return its incident once it is saved."""
    service.told("monitor", FindingsChanged((found(**more),)))
    await eventually(lambda: service._saving.loaded and service._ready)
    await eventually(lambda: service._saving.idle)
    [incident] = await all_of(service, states=("open",))
    return incident


def gauges(service):
    return {
        (dict(each.attributes)["model"], dict(each.attributes)["severity"]): each.value
        for each in service.series.snapshot()
        if each.name == "vigil.incidents.open"
    }


async def test_what_is_told_before_the_store_is_read_is_judged_then(make, found, eventually):
    service = make()
    incident = await opened(service, eventually, found)
    assert incident.summary.startswith("performance of model 'loans'")
    assert gauges(service) == {
        ("loans", "info"): 0, ("loans", "ticket"): 0, ("loans", "page"): 1,
    }  # fmt: skip


async def test_it_goes_on_after_it_was_ended(make, found, eventually, clock):
    before = make()
    one = found()
    incident = await opened(before, eventually, found)
    await before.incident(IncidentOrder(incident.id, "acknowledge", "on it"))
    await before.stop()
    service = make()
    service.told("monitor", FindingsChanged((one,)))
    await eventually(lambda: service._ready)
    [kept] = await all_of(service)
    assert (kept.id, kept.state, kept.history[-1].note) == (incident.id, "acknowledged", "on it")
    outbox, _ = service._receivers[0]
    assert [each.event for each in outbox.waiting()] == ["opened", "acknowledged"]


async def test_it_goes_on_after_it_was_killed(make, found, eventually):
    before = make()
    incident = await opened(before, eventually, found)
    for task in before._tasks:  # nothing is saved any more, as after SIGKILL
        task.cancel()
    before._tasks = []
    service = make()
    again = await opened(service, eventually, found)
    assert again.id == incident.id
    assert len(await all_of(service)) == 1


async def test_without_a_store_incidents_are_there_all_the_same(
    make, found, eventually, clock, monkeypatch
):
    service = make(store=NoStore)
    await eventually(lambda: service.notes())
    service.told("monitor", FindingsChanged((found(),)))
    assert await all_of(service) == ()
    clock.pass_s(module.LOAD_WAIT_S)
    await eventually(lambda: service._ready)
    answer = await service.listed(IncidentQuery())
    assert len(answer.incidents) == 1
    assert any("cannot be reached" in note for note in answer.notes)
    assert any("are lacking" in note for note in answer.notes)
    done = await service.incident(IncidentOrder(answer.incidents[0].id, "resolve"))
    assert done.state == "resolved"
    with pytest.raises(ModelNotReady, match="does not answer; try again later"):
        await service.incident(IncidentOrder("nobody"))


async def test_what_the_store_does_not_know_is_not_there(make, eventually):
    service = make()
    await eventually(lambda: service._ready)
    with pytest.raises(NotFound, match="no incident 'nobody'"):
        await service.incident(IncidentOrder("nobody"))


async def test_breaches_between_two_looks_are_not_missed(make, found, eventually, clock):
    service = make()
    await eventually(lambda: service._ready)
    passed = found()
    clock.pass_s(60)
    service.told("monitor", FindingsChanged((found(breached=False),), (passed,)))
    [incident] = await all_of(service)
    assert [each.what for each in incident.history] == ["opened", "resolved"]


async def test_harm_raises_drift_of_the_same_model(make, found, eventually):
    service = make()
    drift = {"monitor": "drift", "metric": "psi", "severity": "info"}
    service.told("monitor", FindingsChanged((found(**drift), found())))
    await eventually(lambda: service._ready)
    assert {each.cause: each.severity for each in await all_of(service)} == {
        "drift": "ticket", "performance": "page",
    }  # fmt: skip


async def test_what_is_over_is_found_in_the_store(make, found, eventually, clock):
    before = make()
    incident = await opened(before, eventually, found)
    clock.pass_s(60)
    before.told("monitor", FindingsChanged((found(breached=False),)))
    assert await all_of(before, states=("open",)) == ()
    await before.stop()
    clock.pass_s(100 * 86_400)
    service = make()
    await eventually(lambda: service._ready)
    [over] = await all_of(service)
    assert (over.id, over.state) == (incident.id, "resolved")
    assert (await service.incident(IncidentOrder(incident.id))).id == incident.id
    judged = await service.incident(IncidentOrder(incident.id, "false_alarm"))
    assert judged.state == "false_alarm"
    assert [each.state for each in await all_of(service)] == ["false_alarm"]
    with pytest.raises(InvalidInput, match="is over"):
        await service.incident(IncidentOrder(incident.id, "acknowledge"))


async def test_lists_are_ordered_and_cut(make, found, eventually, clock):
    service = make()
    await eventually(lambda: service._ready)
    service.follow([Served("loans", "1", "r", RULES), Served("b", "1", "r", RULES)])
    service.told(
        "monitor",
        FindingsChanged((
            found(severity="ticket"), found(monitor="quality"),
            found(model="b", severity="info", monitor="drift"),
            found(model="gone"),
        )),
    )  # fmt: skip
    assert [each.severity for each in await all_of(service)] == ["page", "ticket", "info"]
    assert [each.severity for each in await all_of(service, limit=1)] == ["page"]
    assert [each.model for each in await all_of(service, model="b")] == ["b"]
    assert await all_of(service, states=("resolved",)) == ()


async def test_what_is_unknown_is_listed_and_becomes_a_ticket(make, found, eventually, clock):
    service = make()
    blind = Unjudged("loans", "1", "drift", "blind", "no profile")
    service.told("monitor", FindingsChanged((), (), (blind,)))
    await eventually(lambda: service._ready)
    answer = await service.listed(IncidentQuery())
    assert [(each.cause, each.kind) for each in answer.unknown] == [("drift", "blind")]
    assert (await service.listed(IncidentQuery(model="b"))).unknown == ()
    clock.pass_s(86_400)
    await eventually(lambda: list(service._book.active()))
    service.away({"monitor": "it is not there"})
    clock.pass_s(300)
    await eventually(lambda: len(list(service._book.active())) == 2)


async def test_models_that_are_not_served_leave_nothing(make, found, eventually):
    service = make()
    await opened(service, eventually, found)
    service.follow([])
    await eventually(lambda: not list(service._book.active()))
    await eventually(lambda: not gauges(service))


async def test_messages_of_receivers_that_are_gone_are_dropped(make, found, eventually):
    before = make()
    await opened(before, eventually, found)
    await before.stop()
    service = make(webhooks=())
    await eventually(lambda: service._ready)
    await eventually(lambda: service._saving.idle)
    await service.stop()
    after = make()
    await eventually(lambda: after._ready)
    assert not after._receivers[0][0].waiting()


async def test_a_fault_ends_no_look_that_comes_later(make, found, eventually, monkeypatch, caplog):
    service = make()
    await eventually(lambda: service._ready)

    def fail():
        raise RuntimeError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(service._unknowns, "tick", fail)
        await eventually(lambda: "incidents could not be looked after" in caplog.messages)
    service.follow([])
    await eventually(lambda: not gauges(service))


async def test_a_cause_is_attached_kept_and_told(make, eventually, found, clock):
    service = make()
    incident = await opened(service, eventually, found)
    assert service.wanted_cause() is None  # its rows are not in the log yet
    clock.pass_s(10)
    wanted = service.wanted_cause()
    assert wanted.ident == incident.id
    service.explained(wanted, Cause(summary="the cause is not known: no labels"))
    assert service.wanted_cause() is None  # for a while
    clock.pass_s(60)
    service.explained(service.wanted_cause(), Cause(summary="concept shift", known=True))
    await eventually(lambda: service._saving.idle)
    await service.stop()
    again = make()
    await eventually(lambda: again._ready)
    [kept] = await all_of(again)
    assert (kept.evidence.cause.summary, kept.evidence.cause.at) == ("concept shift", clock.now)
    clock.pass_s(100)
    assert again.wanted_cause() is None
