"""Models that are logged and have no monitors: their events are counted, and not judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import EventMeta, Position
from serving.config import ModelConfig
from serving.monitoring.event_decoding import PredictionEvent
from serving.monitoring.model_monitors import ModelMonitors
from serving.monitoring.service import MonitoringService
from serving.protocol.messages import Tensor

PERFORMANCE = {"min": 0.5}


def service_of(folder: Path, **monitors: Any) -> MonitoringService:
    config = ModelConfig.model_validate({
        "format": "python", "factory": "net:build", "trust_code": True,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]}],
        "monitors": {"drift": None, "performance": None, **monitors},
    })  # fmt: skip
    service = MonitoringService(lambda: 1000.0)
    service.serve([ServedModel("m", "1", config.model_dump_json().encode(), str(folder))])
    return service


@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize("monitors", [{}, {"performance": PERFORMANCE}])
def test_only_models_with_monitors_are_judged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    monitors: dict[str, Any],
    values: bool,
) -> None:
    judged: list[int] = []

    def update(_self: ModelMonitors, event: PredictionEvent, _now: float) -> None:
        judged.append(event.rows)

    monkeypatch.setattr(ModelMonitors, "update", update)
    service = service_of(tmp_path, **monitors)
    scores = np.tile(np.array([[0.1, 0.9]], np.float32), (3, 1))
    tensors = [Tensor("out:p", "FP32", (3, 2), scores)] if values else []
    position = Position("gateway-0", 1, 0, 0, 0)
    service.observe(EventMeta(position, "m", "1", 1000.0, list("abc"), [1] * 3, {}), tensors)
    assert judged == ([3] if monitors and values else [])
    assert service.unwatched == 0
    assert service.status().events.received == 3
    assert caplog.records == []
