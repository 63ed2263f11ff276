"""The monitor as the process that it is in production: killed, restarted, asked to end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from serving.channel.messages.observation import (
    FindingsMeta,
    Label,
    LabelCounts,
    LabelsMeta,
    ReportMeta,
    ReportReply,
)
from serving.channel.messages.reports import EventCounts, MonitorStatus
from serving.monitoring.state_file import FORMAT, read_state, write_state


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
    reply = await publisher.request("findings", FindingsMeta("loans"))
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
    tabular.publish(publisher, 150, shift=1.0)
    assert not [f for f in (await ask(publisher))["findings"] if f["monitor"] == "drift"]
    await eventually(
        lambda: saved_state(tmp_path).get("ledger", {}).get("received", {}).get("rows")
    )
    process.kill()
    process.wait()
    await eventually(lambda: not publisher.connected)
    spawn()
    await eventually(lambda: publisher.connected)
    tabular.publish(publisher, 50, shift=1.0)
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
    reply = await publisher.request("labels", LabelsMeta("loans", labels))
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
    tabular.publish(publisher, 100, shift=1.0)
    reply = await publisher.request("report", ReportMeta("loans", "1", "drift", "json"))
    report = msgspec.msgpack.decode(reply.meta, type=ReportReply)
    assert report.content_type == "application/json"
    body = json.loads(report.body)
    assert (body["reference_rows"], body["current_rows"]) == (2000, 100)


def test_it_starts_fast_and_light():
    code = (
        "import sys, serving.monitoring.role\n"
        "print([m for m in ('torch', 'pandas', 'ray', 'evidently') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


async def test_it_takes_no_processor_from_who_answers(registry, gateway, spawn, eventually):
    process = spawn()
    await eventually(lambda: gateway.publisher.connected)
    assert os.sched_getscheduler(process.pid) == os.SCHED_BATCH
