"""Alertmanager itself takes our alerts, follows their severity, and hears when they are over."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadtest.process import free_ports
from serving.channel.messages.incidents import Evidence, Incident, Measured
from serving.config import Webhook
from serving.incidents.webhooks.sender import sender_of
from serving.telemetry.counters import SeriesSet

pytestmark = pytest.mark.e2e
BINARY = shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")
CONFIG = "route: {receiver: none}\nreceivers: [{name: none}]\n"


async def so(what: str, holds: Any, timeout_s: float = 60.0) -> Any:
    async with asyncio.timeout(timeout_s):
        while True:
            if value := holds():
                return value
            await asyncio.sleep(0.05)


@pytest.fixture
def alertmanager(eventually: Callable[..., Any], tmp_path: Path) -> Iterator[str]:
    if BINARY is None:
        pytest.skip("needs the program alertmanager (Debian: prometheus-alertmanager)")
    (tmp_path / "config.yml").write_text(CONFIG)
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                BINARY, f"--config.file={tmp_path}/config.yml", f"--storage.path={tmp_path}/data",
                f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        eventually("it is up", lambda: httpx.get(f"{url}/-/ready").status_code == 200)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def incident(**more: Any) -> Incident:
    evidence = Evidence(leading=Measured(metric="psi"), since=time.time())
    given: dict[str, Any] = {
        "id": "k7m2p9qd", "model": "loans", "version": "3", "cause": "drift", "monitor": "drift",
        "metric": "psi", "severity": "ticket", "state": "open", "opened_at": time.time(),
        "updated_at": time.time(), "summary": "drift of 'income'", "advice": "look",
        "first": evidence, "evidence": evidence,
    }  # fmt: skip
    return Incident(**{**given, **more})


async def test_an_incident_is_an_alert_until_it_is_over(alertmanager: str) -> None:
    webhook = Webhook.model_validate({"kind": "alertmanager", "name": "am", "url": alertmanager})
    there: list[Incident] = []
    outbox, sender = sender_of(
        webhook, lambda *_: None, lambda _: False, lambda: there, SeriesSet(), time.time
    )

    def alerts() -> Any:
        return httpx.get(f"{alertmanager}/api/v2/alerts").json()

    def severities() -> list[str]:
        return sorted(alert["labels"]["severity"] for alert in alerts())

    task = asyncio.get_running_loop().create_task(sender.run())
    try:
        one = incident()
        outbox.offer("opened", one)
        await so("an alert", lambda: severities() == ["ticket"])
        [alert] = alerts()
        assert alert["annotations"]["summary"] == "drift of 'income'"
        assert alert["status"]["state"] in ("active", "unprocessed")
        worse = incident(severity="page", opened_at=one.opened_at)
        outbox.offer("escalated", worse)
        await so("the page alone", lambda: severities() == ["page"])
        over = incident(severity="page", state="resolved", closed_at=time.time())
        outbox.offer("resolved", over)
        await so("none", lambda: severities() == [])
        assert sender.problem == ""
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
