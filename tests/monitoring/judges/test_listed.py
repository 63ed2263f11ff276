"""A new monitor is one new file and one entry in the list."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from monitors.monitor import SaysWhatItWatches
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.findings import FindingRecord
from serving.channel.messages.observation import EventMeta, Position
from serving.config import ModelConfig
from serving.models.repository.folder import ModelEntry
from serving.monitoring.judges.listed import MONITORS
from serving.monitoring.service import MonitoringService
from serving.protocol.messages import Tensor


class Clock:
    """Seconds that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def served(folder: Path) -> ServedModel:
    config = ModelConfig.model_validate({
        "format": "python", "factory": "net:build", "trust_code": True,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2]}],
        "monitors": {"drift": None},
    })  # fmt: skip
    return ServedModel("loans", "1", config.model_dump_json().encode(), str(folder))


def watching(toy: ModuleType, clock: Clock, folder: Path) -> MonitoringService:
    service = MonitoringService(clock, (*MONITORS, toy.DESCRIPTOR))
    service.serve([served(folder)])
    return service


def answer(service: MonitoringService, clock: Clock, rows: int) -> None:
    sent = service.delivery.received
    position = Position("gateway-0", 1, sent.events, sent.requests, sent.rows)
    idents = [f"r{sent.rows + at}" for at in range(rows)]
    meta = EventMeta(position, "loans", "1", clock.now, idents, [1] * rows, {})
    scores = np.tile(np.array([[0.1, 0.9]], np.float32), (rows, 1))
    service.observe(meta, [Tensor("out:p", "FP32", (rows, 2), scores)])


def found(service: MonitoringService) -> dict[str, FindingRecord]:
    findings = service.findings("loans").findings
    return {one.metric: one for one in findings if one.monitor == "toy"}


def test_names_in_the_list_are_unique():
    names = [each.name for each in MONITORS]
    assert len(set(names)) == len(names)


def test_its_findings_are_told_and_without_a_threshold_they_are_no_verdict(toy, clock, tmp_path):
    service = watching(toy, clock, tmp_path)
    answer(service, clock, 7)
    assert "toy of model 'loans': no verdict yet, 7 of 10 rows" in service.status().not_judged
    answer(service, clock, 6)
    (windows,) = found(service).values()
    assert windows.reason == "no threshold set"
    assert (windows.version, windows.value, windows.breached, windows.threshold) == (
        "1",
        1.0,
        None,
        None,
    )
    assert not any("toy" in note for note in service.status().not_judged)
    gauges = {
        one.name: one.value
        for one in service.snapshot()
        if dict(one.attributes).get("monitor") == "toy"
    }
    assert gauges["vigil.finding.value"] == 1.0
    assert "vigil.finding.breached" not in gauges


def test_what_it_finds_by_the_clock_is_told_and_does_not_go_stale(toy, clock, tmp_path):
    service = watching(toy, clock, tmp_path)
    answer(service, clock, 10)
    for idle_s in (30, 5 * 3600):
        clock.now = 1000.0 + idle_s
        service.snapshot()
        told = found(service)
        assert ("idle_s" in told) is (idle_s > toy.SILENT_S)
    assert (told["idle_s"].value, told["idle_s"].breached) == (5 * 3600, True)


def test_it_goes_on_after_a_restart(toy, clock, tmp_path):
    service = watching(toy, clock, tmp_path)
    answer(service, clock, 17)
    again = MonitoringService(clock, (*MONITORS, toy.DESCRIPTOR))
    again.restore(json.loads(json.dumps(service.state())), {})
    again.serve([served(tmp_path)])
    answer(again, clock, 3)
    assert found(again)["windows"].value == 2.0


def test_a_monitor_that_fails_disturbs_no_other(toy, clock, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("values that must not be told")

    service = watching(toy, clock, tmp_path)
    for method in ("update", "tick"):
        monkeypatch.setattr(toy.ToyMonitor, method, fail)
    answer(service, clock, 100)
    service.snapshot()
    answered = service.findings("loans")
    assert {one.monitor for one in answered.findings} == {"quality"}
    assert answered.notes[-1] == "toy of model 'loans' failed: RuntimeError"
    monkeypatch.undo()
    answer(service, clock, 10)
    assert "failed" not in str(service.findings("loans").notes)


@pytest.mark.parametrize("tolerance", [{}, {"mae_ratio": 0.8}], ids=["nothing", "something"])
def test_errors_of_numbers_are_judged_where_something_is_tolerated(
    tmp_path: Path, tolerance: dict[str, float]
) -> None:
    [fairness] = [each for each in MONITORS if each.name == "fairness"]
    raw = {
        "format": "onnx", "fairness": {"sensitive": ["sex"], "tolerance": tolerance},
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1]}],
    }  # fmt: skip
    config = ModelConfig.model_validate(raw)
    assert fairness.wanted(config)
    built = fairness.build(ModelEntry("prices", "1", tmp_path, config))
    assert isinstance(built.monitor, SaysWhatItWatches)
    judged = [each.metric for each in built.monitor.watched(0.0).items if not each.not_judged]
    assert judged == list(tolerance)
    whys = [each.why for each in built.blind]
    assert all("nothing is tolerated" in why for why in whys)
    assert len(whys) == (0 if tolerance else 1)
