"""Which GPU a replica computes on, with a CUDA that says what a test wants; and for how long."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from serving.config import ModelConfig
from serving.models.repository.folder import ModelEntry
from serving.replica.gpu import GpuTime, gpu_of, gpu_time
from serving.telemetry.counters import SeriesSet

UUID = "5a1b0c00-1111-2222-3333-444455556666"


def entry(device: str = "auto", model_format: str = "torch_export") -> ModelEntry:
    tensor = {"datatype": "FP32", "shape": [-1, 1]}
    code = {"factory": "net:build", "trust_code": True} if model_format == "python" else {}
    config = ModelConfig.model_validate({
        "format": model_format,
        "replicas": {"device": device},
        "inputs": [{"name": "x", **tensor}], "outputs": [{"name": "y", **tensor}], **code,
    })  # fmt: skip
    return ModelEntry("m", "1", Path(), config)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A CUDA of four devices in use, of which 2 is the current one; returns what was asked for."""
    asked: list[int] = []

    def properties(index: int) -> Any:
        asked.append(index)
        return SimpleNamespace(uuid=f"{UUID[:-1]}{index}")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    return asked


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_the_device_that_is_used(cuda: list[int], device: str) -> None:
    assert gpu_of(entry(device)) == f"GPU-{UUID[:-1]}2"
    assert cuda == [2]


def test_a_process_that_has_used_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    series = SeriesSet()
    assert gpu_time(series, entry()) is None
    assert series.snapshot() == ()


def test_a_process_without_torch(cuda: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    assert gpu_of(entry(model_format="python")) == ""
    assert "torch" not in sys.modules
    assert cuda == []


def test_a_torch_that_tells_no_uuid(cuda: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace())
    assert gpu_of(entry()) == "unknown"


@pytest.mark.parametrize(
    ("device", "providers", "told"),
    [
        ("auto", ["CUDAExecutionProvider", "CPUExecutionProvider"], "unknown"),
        ("cpu", ["CUDAExecutionProvider", "CPUExecutionProvider"], ""),
        ("auto", ["CPUExecutionProvider"], ""),
    ],
)
def test_onnx_runtime_does_not_tell_which(
    monkeypatch: pytest.MonkeyPatch, device: str, providers: list[str], told: str
) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    assert gpu_of(entry(device, "onnx")) == told


def test_batches_that_overlap_count_once() -> None:
    series = SeriesSet()
    spent = GpuTime(series, entry(), "GPU-1")
    for computing, now in [(True, 1.0), (True, 2.0), (True, 4.0), (False, 5.0), (True, 9.0),
                           (False, 9.5)]:  # fmt: skip
        spent.busy(computing, now)
    (item,) = series.snapshot()
    assert item.value == 4.5
    assert dict(item.attributes) == {"model": "m", "version": "1", "device": "GPU-1"}
