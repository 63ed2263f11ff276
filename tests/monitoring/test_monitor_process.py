"""The monitor as the process that it is in production: killed, restarted, asked to end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import (
    EventMeta,
    FindingsMeta,
    Label,
    LabelCounts,
    LabelsMeta,
    Position,
    ReportMeta,
    ReportReply,
)
from serving.channel.messages.reports import EventCounts, MonitorStatus
from serving.dataplane.hooks.event_batches import EventBatch, EventKey
from serving.dataplane.hooks.publisher import EventPublisher
from serving.errors import ModelNotReady
from serving.monitoring.service import MonitoringService
from serving.monitoring.state_file import FORMAT, read_state, write_state
from serving.protocol.messages import Tensor


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "serving.monitoring.role",
                "--registry", f"unix:{tmp_path}/registry.sock",
                "--address", f"unix:{tmp_path}/monitor.sock",
                "--data-dir", str(tmp_path / "data"),
            ],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


async def ask(publisher) -> dict:
    reply = await publisher.request("findings", FindingsMeta("loans"), model="loans")
    return json.loads(msgspec.msgpack.decode(reply.meta, type=bytes))


def saved_state(folder: Path) -> dict:
    """What the file of state tells; nothing before it is there."""
    content = read_state(folder / "data" / "monitor.json")
    return {} if content is None else json.loads(content)["state"]


def events(registry) -> EventCounts:
    for state in registry.states():
        if isinstance(state.status, MonitorStatus):
            return state.status.events
    return EventCounts()


async def test_a_window_goes_on_after_kill_9(
    registry, gateway, tabular, spawn, tmp_path, eventually
):
    publisher = gateway.publisher
    process = spawn()
    await eventually(lambda: publisher.connected)
    tabular.publish(publisher, 150, shift=6.0)
    assert not [f for f in (await ask(publisher))["findings"] if f["monitor"] == "drift"]
    await eventually(
        lambda: saved_state(tmp_path).get("ledger", {}).get("received", {}).get("rows")
    )
    process.kill()
    process.wait()
    await eventually(lambda: not publisher.connected)
    spawn()
    await eventually(lambda: publisher.connected)
    tabular.publish(publisher, 50, shift=6.0)
    findings = (await ask(publisher))["findings"]
    assert {f["subject"]: f["breached"] for f in findings if f["metric"] == "psi"}["income"]
    await eventually(lambda: events(registry).received == 200)
    assert events(registry) == EventCounts(received=200)


async def test_sigterm_saves_everything(registry, gateway, tabular, spawn, tmp_path, eventually):
    process = spawn()
    await eventually(lambda: gateway.publisher.connected)
    tabular.publish(gateway.publisher, 30)
    await ask(gateway.publisher)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    saved = saved_state(tmp_path)
    assert saved["ledger"]["received"]["rows"] == 30
    assert saved["models"]["loans/1"]["drift"]["window"]["rows"] == 30


async def push(publisher, idents: list[str]) -> LabelCounts:
    labels = [Label(ident, 0, "yes") for ident in idents]
    reply = await publisher.request("labels", LabelsMeta("loans", labels), model="loans")
    return msgspec.msgpack.decode(reply.meta, type=LabelCounts)


async def test_labels_and_predictions_outlive_kill_9(
    registry, gateway, tabular, spawn, tmp_path, eventually
):
    publisher = gateway.publisher
    process = spawn()
    await eventually(lambda: publisher.connected)
    tabular.publish(publisher, 100, timestamp=time.time())
    assert await push(publisher, ["r1", "r2", "early"]) == LabelCounts(accepted=2, unknown=1)
    taken = lambda: saved_state(tmp_path).get("models", {}).get("loans/1", {})  # noqa: E731
    await eventually(lambda: taken().get("labels", {}).get("labelled") == 2)
    process.kill()
    process.wait()
    await eventually(lambda: not publisher.connected)
    spawn()
    await eventually(lambda: publisher.connected)
    answer = await push(publisher, ["r1", "r3", "early", "never"])
    assert answer == LabelCounts(accepted=1, duplicate=2, unknown=1)


def dropped(publisher) -> int:
    return sum(totals.rows for totals in publisher.dropped.values())


class Uninterrupted:
    """A monitor in this process that is told all that publishers are, and is never killed."""

    def __init__(self, models: list[ServedModel], publishers: list[EventPublisher]) -> None:
        self.service = MonitoringService(time.time)
        self.service.serve(models)
        self._messages = 0
        for publisher in publishers:
            publish = publisher.publish
            publisher.publish = partial(self._published, publish)

    def _published(self, publish, key: EventKey, batch: EventBatch) -> None:
        publish(key, batch)
        at = self._messages
        self._messages += 1
        n = len(batch.ids)
        meta = EventMeta(
            Position("all", 1, at, at * n, at * n), key.model, key.version, batch.timestamp,
            list(batch.ids), list(batch.rows), {},
        )  # fmt: skip
        named = {
            **{f"in:{name}": array for name, array in batch.inputs.items()},
            **{f"out:{name}": array for name, array in batch.outputs.items()},
        }
        self.service.observe(meta, [Tensor(name, "", a.shape, a) for name, a in named.items()])

    def findings(self) -> list[dict]:
        return json.loads(msgspec.json.encode(self.service.findings("loans").findings))


def counted(registry, name: str) -> float:
    """Sum of a metric over all monitors, dead or alive."""
    return sum(series.value for series in registry.aggregate() if series.name == name)


def lasting(finding: dict) -> dict:
    """A finding without what depends on when it was made, or when a label came."""
    number, _, _ = finding["window_id"].partition("@")
    detail = {
        name: it for name, it in finding.get("detail", {}).items() if name != "lookback_since"
    }
    of_labels = finding["monitor"] in ("performance", "fairness")
    times = {"window": None, "detail": detail} if of_labels else {}
    return {**finding, "age_s": 0, "window_id": number, **times}


async def test_killed_amid_the_traffic_of_two_gateways_it_finds_what_it_would_have_found(
    registry, gateway, other_gateway, tabular, spawn, served, eventually
):
    """Each gateway has a version of its own, so that the order of one does not move the other."""
    models = [served, msgspec.structs.replace(served, version="2")]
    registry.set_models(models)
    publishers = [gateway.publisher, other_gateway.publisher]
    expected = Uninterrupted(models, publishers)
    process = spawn()
    await eventually(lambda: all(publisher.connected for publisher in publishers))
    began = time.time()
    for step in range(20):
        for version, publisher in zip("12", publishers, strict=True):
            ids = f"v{version}-{step}-"
            tabular.publish(publisher, 50, step / 3, ids=ids, timestamp=began, version=version)
            publisher.flush()
        if step in (3, 8, 13):
            await asyncio.sleep(0.002 * step)  # that they are on their way, written, acknowledged
            process.kill()
            process = spawn()
        if step % 2:
            truth = [Label(f"v2-{step}-{row}", 0, row % 2) for row in range(50)]
            expected.service.label(LabelsMeta("loans", truth))
            await pushed(publishers[1], truth)
    await eventually(lambda: not any(each.kept_bytes or each.waiting_rows for each in publishers))
    await eventually(lambda: events(registry).received == 2000)
    assert events(registry) == EventCounts(received=2000)
    assert [(each.published.rows, dropped(each)) for each in publishers] == [(1000, 0)] * 2
    # A report that was written down and not sent before the process died is not told again.
    assert 1000 < counted(registry, "vigil.events.received") <= 2000
    alarms = [s.value for s in expected.service.cumulative() if s.name == "vigil.drift.alarms"]
    assert 0 < counted(registry, "vigil.drift.alarms") <= sum(alarms)
    found = (await ask(publishers[0]))["findings"]
    known = [sorted(map(lasting, of), key=str) for of in (found, expected.findings())]
    for one, other in zip(*known, strict=True):
        assert one == other
    assert {f["monitor"] for f in found} >= {"drift", "quality", "performance"}
    assert any(f["breached"] for f in found)


async def pushed(publisher, labels: list[Label]) -> LabelCounts:
    """Push labels as a client does: again, until they are acknowledged."""
    async with asyncio.timeout(60):
        while True:
            try:
                reply = await publisher.request(
                    "labels", LabelsMeta("loans", labels), model="loans"
                )
                return msgspec.msgpack.decode(reply.meta, type=LabelCounts)
            except ModelNotReady:
                await asyncio.sleep(0.05)


DAMAGE = [
    (b"{", "damaged"),
    (b'{"ledger": {}}', "damaged"),
    (json.dumps({"format": FORMAT + 1, "state": {}}).encode(), "a newer release's"),
]


@pytest.mark.parametrize(("damage", "why"), DAMAGE)
async def test_an_unreadable_state_is_set_aside_and_begun_anew(
    damage, why, registry, gateway, tabular, spawn, tmp_path, eventually, capfd
):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "monitor.json").write_bytes(damage)
    spawn()
    await eventually(lambda: gateway.publisher.connected)
    assert (await ask(gateway.publisher))["findings"] == []
    (kept,) = (tmp_path / "data").glob("monitor.json.*.unreadable")
    assert kept.read_bytes() == damage
    logged = capfd.readouterr().err
    assert why in logged
    assert kept.name in logged


async def test_a_state_that_holds_other_things_is_set_aside_too(
    registry, gateway, spawn, tmp_path, eventually
):
    write_state(tmp_path / "data" / "monitor.json", b'{"ledger": 3}')
    spawn()
    await eventually(lambda: gateway.publisher.connected)
    (kept,) = (tmp_path / "data").glob("monitor.json.*.unreadable")
    assert json.loads(read_state(kept)) == {"ledger": 3}


async def test_a_report_over_the_channel(registry, gateway, tabular, spawn, eventually):
    publisher = gateway.publisher
    spawn()
    await eventually(lambda: publisher.connected)
    tabular.publish(publisher, 100, shift=6.0)
    reply = await publisher.request(
        "report", ReportMeta("loans", "1", "drift", "json"), model="loans"
    )
    report = msgspec.msgpack.decode(reply.meta, type=ReportReply)
    assert report.content_type == "application/json"
    body = json.loads(report.body)
    assert (body["reference_rows"], body["current_rows"]) == (2000, 100)


HEAVY = """
import sys, time
import serving.monitoring.role
from serving.channel.messages.directory import ServedModel
from serving.monitoring.service import MonitoringService

folder, config = sys.argv[1:]
service = MonitoringService(time.time)
service.serve([ServedModel("loans", "1", config.encode(), folder)])
watched = service.watched("loans").monitors
heavy = ("torch", "pandas", "ray", "evidently", "sklearn", "scipy.stats", "scipy.optimize")
print([each.monitor for each in watched], [name for name in heavy if name in sys.modules])
"""


def test_it_starts_fast_and_light_where_the_profile_has_no_labelled_rows(served):
    done = subprocess.run(
        [sys.executable, "-c", HEAVY, served.directory, served.config.decode()],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    judges, _, heavy = done.stdout.strip().partition("] [")
    assert "drift" in judges
    assert "performance" in judges
    assert heavy == "]"


async def test_it_takes_no_processor_from_who_answers(registry, gateway, spawn, eventually):
    process = spawn()
    await eventually(lambda: gateway.publisher.connected)
    assert os.sched_getscheduler(process.pid) == os.SCHED_BATCH
