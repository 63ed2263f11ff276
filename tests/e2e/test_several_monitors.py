"""Two monitors share three models: while one is silent, only its models' verdicts are unknown."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.channel.monitor_shares import monitor_ids, monitor_of
from serving.log.reader import LogReader
from serving.log.store import open_store

pytestmark = pytest.mark.e2e

MONITORS = 2
KILLED, OTHER = monitor_ids(MONITORS)
BATCH = 10


def names_of(ident: str, number: int) -> list[str]:
    """Return names of so many models that belong to a monitor."""
    names = (f"m{at}" for at in range(1000))
    mine = (name for name in names if monitor_of(name, MONITORS) == ident)
    return [next(mine) for _ in range(number)]


MODELS = [*names_of(KILLED, 1), *names_of(OTHER, 2)]
(LOST, *KEPT) = MODELS


def ask(instance: Any, first: int, rows: int) -> None:
    """Ask every model the same."""
    with httpx.Client(base_url=instance.url, timeout=60) as client:
        for start in range(first, first + rows, BATCH):
            data = [float(row) for row in range(start, start + BATCH)]
            tensor = {"name": "x", "datatype": "FP32", "shape": [BATCH, 1], "data": data}
            for model in MODELS:
                body = {"id": f"r{start}", "inputs": [tensor]}
                reply = client.post(f"/v2/models/{model}/infer", json=body)
                assert reply.status_code == 200, reply.text


def pids(instance: Any) -> dict[str, int]:
    return {member["id"]: member["pid"] for member in instance.members("monitor")}


def console(instance: Any) -> Any:
    return httpx.get(f"{instance.admin}/console/data", timeout=60).json()


def verdicts(data: Any) -> dict[str, set[bool | None]]:
    """Return which verdicts the console has of each model."""
    found: dict[str, set[bool | None]] = {}
    for each in data["findings"]:
        found.setdefault(each["model"], set()).add(each["breached"])
    return found


def judged(instance: Any, model: str) -> tuple[list[Any], list[str]]:
    """Return what a model's monitor knows, without times and without the model's name."""
    told = httpx.get(f"{instance.url}/v2/models/{model}/findings", timeout=60).json()
    parts = ("monitor", "metric", "subject", "value", "breached", "n_reference", "n_current")
    findings = [[each[part] for part in parts] for each in told["findings"]]
    own = re.compile(rf"'?\b{model}\b'?")
    return findings, [own.sub("it", note) for note in told["notes"]]


def received(instance: Any) -> int:
    return int(instance.metric("vigil_events_received_total"))


def test_of_a_silent_monitor_the_verdicts_are_unknown_and_then_exact_again(
    running: Callable[..., Any],
    put: Callable[..., Path],
    tmp_path: Path,
    eventually: Callable[..., Any],
) -> None:
    models = tmp_path / "models"
    for name in MODELS:
        put(models, name)
    with running(models, tmp_path, monitors=MONITORS) as instance:
        eventually("monitors", lambda: set(pids(instance)) == set(monitor_ids(MONITORS)))
        first = pids(instance)[KILLED]
        for model in MODELS:
            eventually(f"the monitor of {model}", lambda model=model: judged(instance, model))
        ask(instance, 0, 250)
        fine = {model: {False} for model in MODELS}
        eventually("all verdicts", lambda: verdicts(console(instance)) == fine)

        os.kill(first, signal.SIGSTOP)
        silent = {**fine, LOST: {None}}

        def only_its_verdicts_are_unknown() -> Any:
            data = console(instance)  # once: on a busy machine others may be silent for a moment
            return data if verdicts(data) == silent else None

        data = eventually("only its verdicts are unknown", only_its_verdicts_are_unknown)
        (said,) = (each for each in data["not_judged"] if each.startswith("monitor-"))
        assert said.startswith(f"{KILLED} has not reported for ")
        assert said.endswith(f", so nobody judges model '{LOST}'")
        reasons = {each["reason"] for each in data["findings"] if each["model"] == LOST}
        assert all(each.startswith(f"{KILLED} has not reported for ") for each in reasons)
        ask(instance, 250, 100)

        os.kill(first, signal.SIGKILL)
        eventually("all verdicts again", lambda: verdicts(console(instance)) == fine)
        ask(instance, 350, 70)
        eventually("all rows", lambda: received(instance) == 420 * len(MODELS))
        assert instance.metric("vigil_events_lost_total") == 0
        assert instance.metric("vigil_events_dropped_total") == 0
        expected = judged(instance, KEPT[0])
        assert expected[0]
        assert [judged(instance, model) for model in (LOST, KEPT[1])] == [expected] * 2
        assert not [each for each in console(instance)["not_judged"] if "nobody" in each]
        folder = tmp_path / "data" / "log"
        reader = LogReader(open_store(str(folder)), folder / "open")
        for model in MODELS:
            eventually(
                "its rows", lambda model=model: reader.scan(model).read_all().num_rows >= 420
            )
    for model in MODELS:
        found = reader.scan(model).read_all().to_pylist()
        assert Counter((row["client_id"], row["index"]) for row in found) == Counter(
            (f"r{start}", at) for start in range(0, 420, BATCH) for at in range(BATCH)
        )
