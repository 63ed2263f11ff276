"""What monitors watch, as clients are given it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from monitors.watched import Gap, Item, Watched
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.watched import Needed, WatchedModel
from serving.config import ModelConfig
from serving.errors import ModelNotFound
from serving.monitoring.judges.descriptor import Built
from serving.monitoring.judges.listed import MONITORS
from serving.monitoring.service import MonitoringService

CONFIG: dict[str, Any] = {
    "format": "python", "factory": "net:build", "trust_code": True,
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
    "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2]}],
    "monitors": {"drift": None, "false_pages_per_quarter": 2},
}  # fmt: skip


def service(folder: Path, *descriptors: Any) -> MonitoringService:
    made = MonitoringService(lambda: 1000.0, descriptors)
    config = ModelConfig.model_validate(CONFIG).model_dump_json().encode()
    made.serve([ServedModel("loans", "1", config, str(folder))])
    return made


def saying(toy: ModuleType, told: Watched) -> Any:
    class Saying(toy.ToyMonitor):
        def watched(self, now: float) -> Watched:
            assert now == 1000.0
            return told

    return replace(toy.DESCRIPTOR, build=lambda entry: Built(Saying()))


def test_items_travel_with_few_digits_and_without_infinity(toy: ModuleType, tmp_path: Path) -> None:
    item = Item(
        metric="psi", subject="x", level=1.23456e-7, factor=math.inf, unit="sd", basis="b",
        sees={86400.0: 0.123456, 604800.0: math.inf}, needs=Gap(0.1, 400.0, None),
    )  # fmt: skip
    told = Watched(items=(item,), reference="r", window=10, streams=1)
    answer = msgspec.json.encode(service(tmp_path, saying(toy, told)).watched("loans"))
    found = msgspec.json.decode(answer, type=WatchedModel)
    assert found.false_pages_per_quarter == 2
    (monitor,) = found.monitors
    (one,) = monitor.items
    assert (monitor.monitor, monitor.version, monitor.filled) == ("toy", "1", 0)
    assert (one.level, one.factor) == (1.235e-7, None)
    assert [each.change for each in one.sees] == [None, 0.1235, None]
    assert one.needs == Needed(0.1, 400.0, None)


def test_a_monitor_that_does_not_say_is_named(toy: ModuleType, tmp_path: Path) -> None:
    found = service(tmp_path, toy.DESCRIPTOR).watched("loans")
    assert found.monitors == ()
    assert found.not_watched == ("toy of model 'loans': it runs, and does not say what it watches",)


def test_what_the_configuration_does_not_want_is_said(tmp_path: Path) -> None:
    found = service(tmp_path, *MONITORS).watched("loans")
    assert "drift of model 'loans' is not watched: its monitors.drift is null" in found.not_watched


def test_an_unknown_model_has_no_monitors(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        service(tmp_path).watched("other")
    with pytest.raises(ModelNotFound):
        service(tmp_path).watched("loans", "7")
