"""`vigil bill` of a running instance: what was used, its price, and what a restart remembers."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.e2e

ROW = [0.5, 0.0, 0.0, 0.0]
ROLES = {"replica", "gateway", "monitor", "explainer"}
CPU_SECOND = 1.0
"""A price at which a second costs one unit."""


def vigil(instance: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "serving.cli", "bill", "--url", instance.admin, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def bill(instance: Any, *arguments: str) -> Any:
    done = vigil(instance, "--output", "json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ask(instance: Any, requests: int, rows: int) -> None:
    inputs = [{"name": "x", "datatype": "FP32", "shape": [rows, 4], "data": ROW * rows}]
    for _ in range(requests):
        assert instance.infer("lab", inputs).status_code == 200


def counted(instance: Any, predictions: int) -> Any:
    """Return the bill of the model once it has these predictions and the time of every role."""
    # By the command only when it is time: each takes as long as the instance takes to start.
    asked = httpx.get(f"{instance.admin}/bill", params={"model": "lab"}, timeout=60).json()
    (of,) = asked["models"]
    known = all(of["cpu_s"][role] for role in ("replica", "gateway", "monitor"))
    if of["predictions"] != predictions or not known:
        return None
    return bill(instance, "lab", "--last", "2h")


def test_what_was_used_and_what_it_costs_also_after_a_restart(
    running: Callable[..., Any],
    make_lab: Callable[..., Path],
    tmp_path: Path,
    eventually: Any,
) -> None:
    models = make_lab()
    prices = {"currency": "CHF", "cpu_second": CPU_SECOND}
    with running(models, tmp_path, prices=prices) as instance:
        ask(instance, requests=20, rows=3)
        found = eventually("all is counted", lambda: counted(instance, 60))
        (of,) = found["models"]
        assert of["cpu_s"].keys() == ROLES
        assert of["cpu_total_s"] == pytest.approx(sum(of["cpu_s"].values()))
        assert of["checks_cpu_s"]["quality"] > 0
        assert sum(of["checks_cpu_s"].values()) <= of["cpu_s"]["monitor"]
        assert of["gpu_s"] == 0
        assert (found["currency"], of["price"]["unknown"]) == ("CHF", [])
        assert of["price"]["total"] == pytest.approx(of["cpu_total_s"])
        assert of["price_per_1000"] == pytest.approx(of["cpu_total_s"] / 60 * 1000)
        if not found["energy_told"]["rapl"]:
            assert of["energy_j"]["rapl"] is None

        # Counters grow on between two looks, but no model has cost more than all time spent.
        cost = instance.metric("vigil_cost_total", model="lab", currency="CHF", resource="cpu")
        assert cost >= of["price"]["total"] - 1e-6
        assert cost <= instance.metric("vigil_model_cpu_time_seconds_total", model="lab") + 1e-6
        assert instance.metric("vigil_check_cpu_time_seconds_total", model="lab", check="quality")

        (line,) = csv.DictReader(io.StringIO(vigil(instance, "lab", "--output", "csv").stdout))
        assert (line["model"], line["predictions"]) == ("lab", "60")
        table = vigil(instance).stdout
        assert "lab" in table
        assert "(none)" in table
        missing = vigil(instance, "cats")
        assert missing.returncode == 1
        assert "no model 'cats' was served" in missing.stderr

    with running(models, tmp_path, prices=prices) as instance:
        ask(instance, requests=1, rows=1)
        again = eventually("both are counted", lambda: counted(instance, 61))
    assert again["models"][0]["cpu_s"]["replica"] > of["cpu_s"]["replica"]
    assert again["recorded_since"] == found["recorded_since"]
