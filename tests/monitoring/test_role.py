"""A monitor in this process, fed over real sockets by a real publisher."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from serving.channel.messages.causes import CauseMeta
from serving.channel.messages.directory import Directory, Member
from serving.channel.messages.observation import (
    FindingsMeta,
    Label,
    LabelCounts,
    LabelsMeta,
    ReportMeta,
    ReportsMeta,
)
from serving.channel.messages.watched import MonitorsMeta, WatchedModel
from serving.channel.monitor_shares import monitor_ids, monitor_of
from serving.config import DriftMonitor as DriftConfig
from serving.config import Monitors
from serving.control.latest_findings import LatestFindings
from serving.control.monitor_orders import cause, reset_reference
from serving.control.registry import Registry
from serving.control.unjudged import unjudged
from serving.dataplane.hooks.event_batches import EventBatch, EventKey
from serving.dataplane.hooks.publisher import EventPublisher, Limits
from serving.errors import InvalidInput, ModelNotFound, ModelNotReady, NotFound, Unsupported
from serving.monitoring import role as role_module
from serving.monitoring.role import MonitorRole
from serving.telemetry.counters import SeriesSet


@pytest.fixture
async def monitor(tmp_path: Path, registry) -> AsyncIterator[MonitorRole]:
    role = MonitorRole(
        f"unix:{tmp_path}/registry.sock",
        f"unix:{tmp_path}/monitor.sock",
        tmp_path / "data",
        checkpoint_s=60,
        clock=lambda: 1001.5,
    )
    await role.start()
    yield role
    await role.stop()


@pytest.fixture
async def connected(monitor, gateway, eventually):
    await eventually(lambda: gateway.publisher.connected)
    return gateway.publisher


async def ask(publisher, model="loans") -> dict:
    reply = await publisher.request("findings", FindingsMeta(model), model=model)
    return json.loads(msgspec.msgpack.decode(reply.meta, type=bytes))


async def nothing() -> None:
    """In the place of `_save`: the monitor dies without."""


def verdicts(answer: dict, metric: str) -> dict[str, bool | None]:
    """Return the verdicts by subject; those about answers are left out."""
    findings = [f for f in answer["findings"] if f["monitor"] != "prediction_drift"]
    return {f["subject"]: f["breached"] for f in findings if f["metric"] == metric}


async def push(publisher, labels: list[Label]) -> LabelCounts:
    reply = await publisher.request("labels", LabelsMeta("loans", labels), model="loans")
    return msgspec.msgpack.decode(reply.meta, type=LabelCounts)


async def test_nothing_is_found_before_a_window_is_full(connected, tabular):
    tabular.publish(connected, 99)
    answer = await ask(connected)
    assert answer["findings"] == []
    *waiting, by_default = answer["notes"]
    assert by_default.startswith("estimated performance of model 'loans' is not watched: the prof")
    assert waiting == [
        "drift of model 'loans': no verdict yet, 99 of 200 rows",
        "drift of answers of model 'loans': no verdict yet, 99 of 200 rows",
        "fairness of model 'loans': no verdict yet, 99 of 400 rows",
        "data quality of model 'loans': no verdict yet, 99 of 1000 rows",
        "quality of model 'loans': no verdict yet, 99 of 100 rows",
        "accuracy of model 'loans': no verdict yet, 0 of 200 labelled rows",
    ]


async def test_it_says_what_it_watches(connected, tabular):
    tabular.publish(connected, 200)
    reply = await connected.request("monitors", MonitorsMeta("loans"), model="loans")
    told = msgspec.json.decode(msgspec.msgpack.decode(reply.meta, type=bytes), type=WatchedModel)
    drift = next(each for each in told.monitors if each.monitor == "drift")
    assert {each.subject for each in drift.items} >= {"income", "debt", "purpose"}
    assert drift.filled == 0
    with pytest.raises(ModelNotFound):
        await connected.request("monitors", MonitorsMeta("nothing"), model="loans")


async def test_clean_rows_are_no_finding(connected, tabular):
    tabular.publish(connected, 200)
    answer = await ask(connected)
    assert verdicts(answer, "psi") == {"income": False, "debt": False, "purpose": False}
    assert verdicts(answer, "drifted_features") == {"": False}


async def test_shifted_rows_are_a_finding(connected, tabular, monitor):
    tabular.publish(connected, 200, shift=6.0)
    answer = await ask(connected)
    assert verdicts(answer, "psi") == {"income": True, "debt": False, "purpose": False}
    series = {
        (s.name, dict(s.attributes).get("feature", "")): s.value for s in monitor.service.snapshot()
    }
    assert series["vigil.drift.score", "income"] > 0.5 > series["vigil.drift.score", "debt"]
    assert series["vigil.drift.p_value", "income"] < 1e-6
    assert series["vigil.drift.alarms", ""] == 1
    assert series["vigil.monitor.lag", ""] == 1.5
    assert series["vigil.events.received", ""] == 200
    monitor.service.serve(())
    left = {each.name for each in monitor.service.snapshot()}
    assert "vigil.drift.alarms" in left
    assert not left & {"vigil.drift.score", "vigil.drift.p_value"}


async def test_an_alarm_is_counted_once_per_window(connected, tabular, monitor):
    for _ in range(2):
        tabular.publish(connected, 250, shift=6.0)
        await ask(connected)
    alarms = [s.value for s in monitor.service.snapshot() if s.name == "vigil.drift.alarms"]
    assert alarms == [2]


async def test_unequal_selection_rates_are_a_finding(connected, tabular, monitor):
    sex = np.array(["F", "M"] * 200, dtype=object)
    favorable = tabular.random.random(400) < np.where(sex == "F", 0.2, 0.8)
    tabular.publish(connected, 400, favorable=favorable, sex=sex)
    answer = await ask(connected)
    assert verdicts(answer, "demographic_parity_difference") == {"sex": True}
    [finding] = [f for f in answer["findings"] if f["metric"] == "demographic_parity_difference"]
    assert finding["ci"][0] > 0.1
    names = {s.name for s in monitor.service.snapshot()}
    assert "vigil.fairness.disparity.ci.lower" in names
    told = [answer, monitor.service.all_findings(), monitor.service.status()]
    assert b'"F"' not in msgspec.json.encode(told)


async def test_labels_are_joined_and_scored(connected, tabular, monitor):
    truth = np.arange(200) % 2 == 0
    tabular.publish(connected, 200, favorable=truth, ids="a")
    labels = [Label(f"a{row}", 0, "yes" if truth[row] else "no") for row in range(200)]
    labels[:20] = [Label(f"a{row}", 0, "no" if truth[row] else "yes") for row in range(20)]
    assert await push(connected, labels) == LabelCounts(accepted=200)
    assert await push(connected, labels[:5]) == LabelCounts(duplicate=5)
    answer = await ask(connected)
    [accuracy] = [f for f in answer["findings"] if f["metric"] == "accuracy"]
    assert accuracy["value"] == pytest.approx(0.9)
    series = monitor.service.snapshot()
    scores = {
        dict(s.attributes)["metric"]: s.value for s in series if "performance.score" in s.name
    }
    assert scores["accuracy"] == pytest.approx(0.9)
    assert [s.value for s in series if s.name == "vigil.labels.coverage"] == [1.0]


async def test_labels_may_come_first(connected, tabular, monitor):
    labels = [Label(f"b{row}", 0, "yes") for row in range(200)]
    assert await push(connected, labels) == LabelCounts(unknown=200)
    tabular.publish(connected, 200, favorable=np.ones(200, bool), ids="b")
    answer = await ask(connected)
    assert [f["value"] for f in answer["findings"] if f["metric"] == "accuracy"] == [1.0]


async def test_labels_may_bring_the_sensitive_values(connected, tabular):
    sex = ["F", "M"] * 200
    favorable = np.array([s == "M" for s in sex])
    tabular.publish(connected, 390, favorable=favorable[:390], ids="c")
    await push(connected, [Label(f"c{row}", 0, 1, {"sex": sex[row]}) for row in range(390)])
    tabular.publish(connected, 10, ids="d")
    answer = await ask(connected)
    assert verdicts(answer, "demographic_parity_difference") == {"sex": True}


@pytest.mark.parametrize("y_true", ["maybe", 7, 0.5, [1.0]])
async def test_a_label_that_names_no_class(connected, y_true):
    with pytest.raises(InvalidInput, match="labels"):
        await push(connected, [Label("a", 0, "yes"), Label("a", 0, y_true)])


async def test_unknown_models(connected):
    with pytest.raises(ModelNotFound):
        await ask(connected, "other")
    with pytest.raises(ModelNotFound):
        await connected.request("labels", LabelsMeta("other", []), model="other")
    with pytest.raises(Unsupported):
        await connected.request("infer", None, model="loans")


async def test_reports_that_cannot_be_made(connected):
    with pytest.raises(Unsupported, match="fairness"):
        await connected.request(
            "report", ReportMeta("loans", "1", "fairness", "html"), model="loans"
        )
    with pytest.raises(ModelNotReady, match="0 rows"):
        await connected.request("report", ReportMeta("loans", "1", "drift", "html"), model="loans")


async def test_reports_are_listed_and_kept_ones_are_handed_out(connected, monitor, tmp_path):
    reply = await connected.request("reports", ReportsMeta("loans"), model="loans")
    listed = json.loads(msgspec.msgpack.decode(reply.meta, type=bytes))
    assert (listed["model"], listed["version"], listed["kept"]) == ("loans", "1", [])
    assert {each["report"] for each in listed["reports"]} >= {"drift", "fairness"}
    with pytest.raises(ModelNotFound):
        await connected.request("reports", ReportsMeta("other"), model="other")
    asked = ReportMeta("loans", "1", "drift", "html", kept="drift-20261130T120000Z")
    with pytest.raises(NotFound, match="no report of drift with id 'drift-20261130T120000Z'"):
        await connected.request("report", asked, model="loans")


async def test_findings_reach_the_registry(connected, tabular, registry, eventually):
    tabular.publish(connected, 200, shift=6.0)
    await ask(connected)

    await eventually(registry.findings)
    assert {found.model for found in registry.findings()} == {"loans"}
    assert {found.subject for found in registry.findings() if found.breached} >= {"income"}


async def test_the_hub_hears_of_findings_when_they_change_and_after_it_was_replaced(
    connected, tabular, registry, monitor, served, tmp_path, eventually, monkeypatch
):
    monkeypatch.setattr(role_module, "TELL_S", 0.01)
    told = []
    monkeypatch.setattr(LatestFindings, "told", lambda _self, *what: told.append(what))
    looked = []
    all_findings = monitor.service.all_findings

    def look():
        looked.append(all_findings())
        return looked[-1]

    monkeypatch.setattr(monitor.service, "all_findings", look)
    tabular.publish(connected, 200, shift=6.0)
    await ask(connected)
    await eventually(lambda: told and told[-1][1].findings)
    times, seen = len(told), len(looked)
    await eventually(lambda: len(looked) >= seen + 5)
    assert len(told) == times, "told again although nothing has changed"
    tabular.publish(connected, 200)
    await ask(connected)
    await eventually(lambda: len(told) == times + 1)
    registry.stop()
    successor = Registry()
    successor.set_models([served])  # so nothing changes for the monitor but the control plane
    await successor.start(f"unix:{tmp_path}/registry.sock")
    await eventually(lambda: len(told) > times + 1)
    assert told[-1][0] == "monitor"
    assert len(told[-1][1].findings) == len(looked[-1])
    successor.stop()


async def test_a_fault_in_findings_ends_none_that_come_later(
    connected, tabular, registry, monitor, eventually, monkeypatch, caplog
):
    monkeypatch.setattr(role_module, "TELL_S", 0.01)

    def fail():
        raise RuntimeError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(monitor.service, "all_findings", fail)
        await eventually(
            lambda: "the control plane could not be told of findings" in caplog.messages
        )
    tabular.publish(connected, 200, shift=6.0)
    await ask(connected)
    await eventually(registry.findings)


async def test_rows_of_a_model_that_is_not_served_are_counted(
    connected, tabular, registry, monitor
):
    registry.set_models([])
    ones = np.ones((3, 1))
    connected.publish(EventKey("gone", "1"), EventBatch(0.0, ["a"], [3], {"x": ones}, {"y": ones}))
    with pytest.raises(ModelNotFound):
        await ask(connected, "gone")
    assert monitor.service.unwatched == 3
    assert monitor.service.delivery.received.rows == 3


async def test_a_version_without_a_profile_says_so(tmp_path, registry, gateway, served, eventually):
    (Path(served.directory) / "profile" / "drift.json").unlink()
    role = MonitorRole(
        f"unix:{tmp_path}/registry.sock", f"unix:{tmp_path}/monitor.sock", tmp_path / "data"
    )
    await role.start()
    await eventually(lambda: gateway.publisher.connected)
    assert "vigil profile loans" in (await ask(gateway.publisher))["notes"][0]
    await role.stop()


async def test_each_of_several_judges_its_models_alone(tmp_path, served, tabular, eventually):
    registry = Registry(monitors=2)
    address = await registry.start(f"unix:{tmp_path}/registry.sock")
    name_of = {
        ident: next(name for at in range(100) if monitor_of(name := f"m{at}", 2) == ident)
        for ident in monitor_ids(2)
    }
    models = [msgspec.structs.replace(served, name=name) for name in name_of.values()]
    registry.set_models(models)
    roles = {
        ident: MonitorRole(address, f"unix:{tmp_path}/{ident}.sock", tmp_path / "data", ident)
        for ident in name_of
    }
    for role in roles.values():
        await role.start()
    async with asyncio.timeout(60):
        while len(registry.states()) < 2 or any(s.status is None for s in registry.states()):
            await registry.news(0.05)
    for ident, role in roles.items():
        assert {watch.entry.name for watch in role.service.watches} == {name_of[ident]}
    assert unjudged(registry.directory, registry.states()) == []
    await roles["monitor-1"].stop()
    await eventually(lambda: len(registry.states()) == 1)
    assert unjudged(registry.directory, registry.states()) == [
        f"monitor-1 is not there, so nobody judges model '{name_of['monitor-1']}'"
    ]
    await roles["monitor-0"].stop()
    files = {path.name.partition(".")[0] for path in (tmp_path / "data").iterdir()}
    assert set(roles) <= files
    assert "monitor" not in files
    registry.stop()


async def test_published_is_received_dropped_or_lost(
    tmp_path, registry, gateway, tabular, eventually
):
    """Through a monitor that dies without a checkpoint of what it had received.

    That is in its write-ahead log, and what is published while no monitor is there waits for it.
    """
    publisher = gateway.publisher
    addresses = f"unix:{tmp_path}/registry.sock", f"unix:{tmp_path}/monitor.sock"
    tabular.publish(publisher, 70)
    publisher.flush()
    first = MonitorRole(*addresses, tmp_path / "data", checkpoint_s=60)
    await first.start()
    await eventually(lambda: publisher.connected)
    tabular.publish(publisher, 100)
    await ask(publisher)
    await first._save()
    tabular.publish(publisher, 130)
    await ask(publisher)
    first._save = nothing
    await first.stop()
    await eventually(lambda: not publisher.connected)
    tabular.publish(publisher, 50)
    publisher.flush()
    second = MonitorRole(*addresses, tmp_path / "data", checkpoint_s=60)
    await second.start()
    await eventually(lambda: publisher.connected)
    tabular.publish(publisher, 20)
    await ask(publisher)
    delivery = second.service.delivery
    await eventually(lambda: delivery.received.rows == 370)
    dropped = sum(totals.rows for totals in publisher.dropped.values())
    assert publisher.published.rows == 370
    assert (dropped, delivery.lost.rows) == (0, 0)
    assert publisher.published.rows == delivery.received.rows + dropped + delivery.lost.rows
    await second.stop()


@pytest.fixture
def live(registry, served, tabular_config):
    """The version without a profile, compared with its own first rows."""
    (Path(served.directory) / "profile" / "drift.json").unlink()
    drift = DriftConfig(reference="live", reference_rows=300, window=200)
    config = tabular_config.model_copy(update={"monitors": Monitors(drift=drift)})
    changed = msgspec.structs.replace(served, config=config.model_dump_json().encode())
    registry.set_models([changed])
    return changed


async def restarted(role, tmp_path, publisher, eventually) -> MonitorRole:
    await role.stop()
    await eventually(lambda: not publisher.connected)
    again = MonitorRole(
        f"unix:{tmp_path}/registry.sock",
        f"unix:{tmp_path}/monitor.sock",
        tmp_path / "data",
        checkpoint_s=60,
    )
    await again.start()
    await eventually(lambda: publisher.connected)
    return again


async def test_a_live_reference_is_collected_kept_and_reset(
    live, tmp_path, registry, gateway, tabular, eventually
):
    role = MonitorRole(
        f"unix:{tmp_path}/registry.sock",
        f"unix:{tmp_path}/monitor.sock",
        tmp_path / "data",
        checkpoint_s=60,
    )
    await role.start()
    publisher = gateway.publisher
    await eventually(lambda: publisher.connected)
    tabular.publish(publisher, 250)
    answer = await ask(publisher)
    assert verdicts(answer, "psi") == {}
    collecting = "drift of model 'loans': collecting reference: 250 of 300 rows"
    assert [note for note in answer["notes"] if "drift of model" in note] == [collecting]
    tabular.publish(publisher, 250)
    answer = await ask(publisher)
    since = "drift of model 'loans': reference: first 300 rows since 1970-01-01T00:16:40Z"
    assert answer["notes"][0] == since
    assert verdicts(answer, "psi") == {"income": False, "debt": False, "purpose": False}
    assert {f["n_reference"] for f in answer["findings"] if f["monitor"] == "drift"} == {300}

    role = await restarted(role, tmp_path, publisher, eventually)
    answer = await ask(publisher)
    assert answer["notes"][0] == since
    assert verdicts(answer, "drifted_features") == {"": False}
    tabular.publish(publisher, 200, shift=6.0)
    assert verdicts(await ask(publisher), "psi")["income"] is True

    assert "0 of 300" in await reset_reference(registry, "loans")
    answer = await ask(publisher)
    assert "0 of 300 rows" in answer["notes"][0]
    assert verdicts(answer, "drifted_features") == {}
    role._save = nothing  # as if it was killed before the next checkpoint
    role = await restarted(role, tmp_path, publisher, eventually)
    assert "0 of 300 rows" in (await ask(publisher))["notes"][0]
    tabular.publish(publisher, 500, shift=6.0)
    assert verdicts(await ask(publisher), "drifted_features") == {"": False}
    assert "first 300 rows" in role.service.status().notes[0]
    await role.stop()


async def test_no_row_of_a_live_reference_is_saved(live, monitor, gateway, tabular, eventually):
    await eventually(lambda: gateway.publisher.connected)
    tabular.publish(gateway.publisher, 250)
    await ask(gateway.publisher)
    state = monitor.service.state()["models"]["loans/1"]["drift"]
    assert state == {"rows": 300, "reference": None}


async def test_only_a_live_reference_can_be_reset(connected, registry):
    with pytest.raises(Unsupported, match="no live reference"):
        await reset_reference(registry, "loans")
    with pytest.raises(ModelNotFound):
        await reset_reference(registry, "other")


class SlowWire:
    """Passes bytes between gateways and a monitor; once it is slow, one byte a second."""

    def __init__(self, listen: str, monitor: str) -> None:
        self._listen, self._monitor = listen, monitor
        self.slow = False
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, self._listen)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_unix_connection(self._monitor)
        self._writers += [writer, forth]
        for source, target in ((reader, forth), (back, writer)):
            self._tasks.append(asyncio.ensure_future(self._pass(source, target)))

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(1 if self.slow else 1 << 16):
            target.write(data)
            if self.slow:
                await asyncio.sleep(1)

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        for writer in self._writers:
            writer.close()


def at(address: str) -> Directory:
    return Directory(1, members=(Member("monitor", "monitor", 1, address),))


@pytest.fixture
async def small(tmp_path) -> AsyncIterator[EventPublisher]:
    """A gateway that keeps little, and knows no registry."""
    limits = Limits(delay_s=0.005, kept_bytes=60_000, unsent_bytes=4096)
    publisher = EventPublisher("small", SeriesSet(), limits=limits)
    yield publisher
    publisher.close()


def settled(publisher: EventPublisher) -> bool:
    return not publisher.waiting_rows and not publisher.kept_bytes


async def test_a_monitor_that_reads_a_byte_a_second_costs_what_is_dropped_and_no_more(
    small, monitor, tabular, tmp_path, eventually
):
    wire = SlowWire(f"{tmp_path}/slow.sock", f"{tmp_path}/monitor.sock")
    await wire.start()
    small.on_directory(at(f"unix:{tmp_path}/slow.sock"))
    await eventually(lambda: small.connected)
    tabular.publish(small, 100)
    await eventually(lambda: settled(small) and small.published.rows == 100)
    wire.slow = True
    for _ in range(60):
        tabular.publish(small, 200)
        small.flush()
    dropped = small.dropped["backlog"].rows
    assert 0 < dropped < 12_000
    assert small.published.rows == 12_100
    await wire.stop()  # by the watchdog, or somebody's hand
    small.on_directory(at(f"unix:{tmp_path}/monitor.sock"))
    await eventually(lambda: settled(small))
    delivery = monitor.service.delivery
    assert (delivery.received.rows, delivery.lost.rows) == (12_100 - dropped, 0)


async def test_a_monitor_that_comes_late_costs_what_was_dropped_and_no_more(
    small, monitor, tabular, tmp_path, eventually
):
    for _ in range(60):
        tabular.publish(small, 200)
        small.flush()
    dropped = small.dropped["no_monitor"].rows
    assert 0 < dropped < 12_000
    small.on_directory(at(f"unix:{tmp_path}/monitor.sock"))
    await eventually(lambda: settled(small))
    delivery = monitor.service.delivery
    assert (delivery.received.rows, delivery.lost.rows) == (12_000 - dropped, 0)


async def test_a_cause_is_asked_of_the_monitor_and_says_why_there_is_none(
    monitor, registry, connected, eventually
):
    await eventually(lambda: any(each.member.role == "monitor" for each in registry.states()))
    found = await cause(registry, CauseMeta("loans", "accuracy", "", 7.0))
    assert not found.known
    assert "`log: null`" in found.summary  # as this monitor was started
    with pytest.raises(NotFound, match="'cats' is not watched here"):
        await cause(registry, CauseMeta("cats", "accuracy", "", 7.0))
