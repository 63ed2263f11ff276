"""The monitor as the process that it is in production: killed, restarted, asked to end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from serving.channel.observation import FindingsMeta, ReportMeta, ReportReply


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "serving.roles.monitor",
                "--hub", f"unix:{tmp_path}/hub.sock",
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


def events(hub) -> dict[str, int]:
    for state in hub.states():
        if state.member.role == "monitor":
            return state.status.get("events", {})
    return {}


async def test_a_window_goes_on_after_kill_9(hub, gateway, tabular, spawn, tmp_path, eventually):
    publisher, saved = gateway.publisher, tmp_path / "data" / "monitor.json"
    process = spawn()
    await eventually(lambda: publisher.connected)
    tabular.publish(publisher, 150, shift=1.0)
    assert not [f for f in (await ask(publisher))["findings"] if f["monitor"] == "drift"]
    await eventually(
        lambda: saved.exists() and json.loads(saved.read_bytes())["ledger"]["received"]["rows"]
    )
    process.kill()
    process.wait()
    await eventually(lambda: not publisher.connected)
    spawn()
    await eventually(lambda: publisher.connected)
    tabular.publish(publisher, 50, shift=1.0)
    findings = (await ask(publisher))["findings"]
    assert {f["subject"]: f["breached"] for f in findings if f["metric"] == "psi"}["income"]
    await eventually(lambda: events(hub).get("received") == 200)
    assert events(hub) == {"received": 200, "lost": 0, "unwatched": 0}


async def test_sigterm_saves_everything(hub, gateway, tabular, spawn, tmp_path, eventually):
    process = spawn()
    await eventually(lambda: gateway.publisher.connected)
    tabular.publish(gateway.publisher, 30)
    await ask(gateway.publisher)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    saved = json.loads((tmp_path / "data" / "monitor.json").read_bytes())
    assert saved["ledger"]["received"]["rows"] == 30
    assert saved["models"]["loans/1"]["drift"]["window"]["rows"] == 30


@pytest.mark.parametrize("damage", [b"{", b'{"ledger": {}}', b'{"ledger": 3, "models": []}'])
async def test_a_damaged_state_is_begun_anew(
    damage, hub, gateway, tabular, spawn, tmp_path, eventually
):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "monitor.json").write_bytes(damage)
    spawn()
    await eventually(lambda: gateway.publisher.connected)
    assert (await ask(gateway.publisher))["findings"] == []


async def test_a_report_over_the_channel(hub, gateway, tabular, spawn, eventually):
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
        "import sys, serving.roles.monitor\n"
        "print([m for m in ('torch', 'pandas', 'ray', 'evidently') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
