"""What the control plane hears reaches incidents, and what gateways ask is answered."""

from __future__ import annotations

import msgspec
import pytest

from serving.channel.endpoint import connect
from serving.channel.messages.causes import Cause, CauseMeta
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.findings import FINDINGS_CHANGED, FindingsChanged
from serving.channel.messages.incidents import (
    INCIDENT,
    INCIDENTS,
    IncidentList,
    IncidentOrder,
    IncidentQuery,
)
from serving.config import Incidents
from serving.control import incident_feed as module
from serving.control.incident_feed import IncidentFeed
from serving.errors import NotFound
from serving.incidents.book import not_there
from serving.incidents.wanted_causes import Wanted


class Service:
    def __init__(self):
        self.heard = []
        self.served = []
        self.gone = {}
        self.started = False
        self.wanted = []
        self.causes = []

    def wanted_cause(self):
        return self.wanted.pop(0) if self.wanted else None

    def explained(self, wanted, cause):
        self.causes.append((wanted, cause))

    def told(self, monitor, changed):
        self.heard.append((monitor, changed))

    def follow(self, served):
        self.served.append([(each.model, each.version, each.rules) for each in served])

    def away(self, monitors):
        self.gone = monitors

    def start(self):
        self.started = True

    async def listed(self, query):
        return IncidentList(incidents=(), notes=(f"asked for {query.model}",))

    async def incident(self, order):
        raise not_there(order.id)


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def feed(registry, service):
    made = IncidentFeed(registry, service)
    yield made
    made.stop()


def model(name, config=b"{}"):
    return ServedModel(name, "1", config, "/x")


async def test_what_is_served_is_told_when_it_changes(registry, feed, service):
    registry.set_models([model("m", b"of another release")])
    feed.start()
    assert service.started
    feed.look()
    assert service.served == [[("m", "1", Incidents())]]
    registry.set_models([])
    feed.look()
    assert service.served[1:] == [[]]


async def test_which_monitors_are_away_is_told(registry, feed, service):
    registry.set_models([model("m")])
    feed.look()
    assert service.gone == {"monitor": "the monitor is not there, so nobody judges model 'm'"}


async def test_findings_reach_incidents(registry, address, feed, service, eventually):
    from serving.channel.messages.directory import Member

    connection = await connect(address)
    connection.notify("register", Member("monitor", "monitor", 1))
    connection.notify(FINDINGS_CHANGED, FindingsChanged(()))
    await eventually(lambda: service.heard)
    assert service.heard == [("monitor", FindingsChanged(()))]
    connection.close()


async def test_gateways_are_answered_in_json(registry, address, feed):
    connection = await connect(address)
    reply = await connection.request(INCIDENTS, IncidentQuery(model="m"))
    told = msgspec.json.decode(msgspec.msgpack.decode(reply.meta))
    assert told == {"incidents": [], "unknown": [], "demoted": [], "notes": ["asked for m"]}
    with pytest.raises(NotFound, match="no incident 'a'"):
        await connection.request(INCIDENT, IncidentOrder("a"))
    connection.close()


async def test_causes_that_are_wanted_are_looked_for_and_told(
    registry, feed, service, eventually, monkeypatch
):
    async def found(_, asked):
        if asked.model == "away":
            raise NotFound("no such model")
        return Cause(summary="concept shift", known=True)

    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "cause", found)
    wanted = [
        Wanted(each, "0 page", CauseMeta(each, "accuracy", "", 7.0)) for each in ("away", "m")
    ]
    service.wanted = list(wanted)
    feed.start()
    await eventually(lambda: len(service.causes) == 2)
    assert service.causes == [
        (wanted[0], Cause(summary="the cause is not known: no such model")),
        (wanted[1], Cause(summary="concept shift", known=True)),
    ]


async def test_a_fault_in_one_cause_ends_no_later_one(
    registry, feed, service, eventually, monkeypatch
):
    async def found(_, asked):
        if asked.model == "broken":
            raise ValueError("a fault")
        return Cause(summary="concept shift", known=True)

    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "cause", found)
    service.wanted = [Wanted(each, "", CauseMeta(each, "", "", 7.0)) for each in ("broken", "m")]
    feed.start()
    await eventually(lambda: service.causes)
    assert [each.ident for each, _ in service.causes] == ["m"]
