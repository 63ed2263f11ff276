"""What the control plane hears reaches incidents, and what gateways ask is answered."""

from __future__ import annotations

import msgspec
import pytest

from serving.channel.endpoint import connect
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
from serving.control.incident_feed import IncidentFeed
from serving.errors import NotFound
from serving.incidents.book import not_there


class Service:
    def __init__(self):
        self.heard = []
        self.served = []
        self.gone = {}
        self.started = False

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
