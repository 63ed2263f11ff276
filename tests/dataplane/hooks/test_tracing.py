"""Which requests are traced, what a trace says, and when traces are written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.channel.messages.settings import Settings, TraceSettings
from serving.config import ModelConfig
from serving.dataplane.hooks.records import BatchDone
from serving.dataplane.hooks.tracing import Tracing

Make = Callable[..., Any]
ON = TraceSettings(timestamps=True, rate=1)
SIGNATURE = [{"name": name, "datatype": "FP32", "shape": [-1, 2]} for name in "xy"]
CONFIG = ModelConfig.model_validate(
    {"format": "onnx", "inputs": SIGNATURE[:1], "outputs": SIGNATURE[1:]}
)


@pytest.fixture
def tracing() -> Iterator[Tracing]:
    tracing = Tracing("g")
    yield tracing
    tracing.close()


@pytest.fixture
def batch(make_request: Make, make_done: Make) -> Make:
    """Make the record of a batch of so many requests."""

    def make(size: int, x: Any = ((0.0, 0.0),)) -> BatchDone:
        rows = len(x)
        requests = [
            make_request(f"r{number}", x, row=number * rows, output_row=number * rows)
            for number in range(size)
        ]
        done: BatchDone = make_done(*requests)
        return done

    return make


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "g.jsonl").read_text().splitlines()]


def test_nothing_is_traced_unless_asked_for(tracing: Tracing, tmp_path: Path) -> None:
    assert tracing.tracer("m", "1", CONFIG) is None
    tracing.follow(Settings(1, trace_of={"m": ON}, folder=str(tmp_path)))
    assert tracing.tracer("n", "1", CONFIG) is None
    assert tracing.tracer("m", "1", CONFIG) is not None
    tracing.follow(Settings(2, folder=str(tmp_path)))
    assert tracing.tracer("m", "1", CONFIG) is None


def test_a_trace_tells_the_times_of_its_request(
    tracing: Tracing, tmp_path: Path, batch: Make
) -> None:
    tracing.follow(Settings(1, trace=ON, folder=str(tmp_path / "traces")))
    tracer = tracing.tracer("m", "3", CONFIG)
    assert tracer is not None
    tracer.batch_done(batch(1))
    tracing.close()
    (trace,) = lines(tmp_path / "traces")
    assert (trace["id"], trace["model_name"], trace["model_version"]) == ("r0", "m", 3)
    assert [moment["name"] for moment in trace["timestamps"]] == [
        "REQUEST_START", "QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END",
        "COMPUTE_OUTPUT_START", "COMPUTE_END", "REQUEST_END",
    ]  # fmt: skip
    times = [moment["ns"] for moment in trace["timestamps"]]
    assert times == sorted(times)
    assert times[4] - times[3] == 1000
    assert times[5] - times[4] == 500
    assert abs(times[-1] - time.time_ns()) < 60e9


def test_every_so_many_th_request_up_to_a_count(
    tracing: Tracing, tmp_path: Path, batch: Make
) -> None:
    settings = TraceSettings(True, rate=3, count=2)
    tracing.follow(Settings(1, trace=settings, folder=str(tmp_path)))
    tracer = tracing.tracer("m", "1", CONFIG)
    assert tracer is not None
    tracer.batch_done(batch(4))
    tracer.batch_done(batch(20))
    tracing.close()
    assert [trace["id"] for trace in lines(tmp_path)] == ["r2", "r1"]


def test_traces_gather_before_they_are_written_and_none_is_lost(
    tracing: Tracing, tmp_path: Path, batch: Make
) -> None:
    settings = TraceSettings(True, rate=1, log_frequency=10)
    tracing.follow(Settings(1, trace=settings, folder=str(tmp_path)))
    tracer = tracing.tracer("m", "1", CONFIG)
    assert tracer is not None
    tracer.batch_done(batch(13))
    tracing.follow(Settings(2, folder=str(tmp_path)))
    tracing.close()
    assert len(lines(tmp_path)) == 13


def test_long_traces_do_not_gather(tracing: Tracing, tmp_path: Path, batch: Make) -> None:
    settings = TraceSettings(rate=1, log_frequency=10**6, tensors=True)
    tracing.follow(Settings(1, trace=settings, folder=str(tmp_path)))
    tracer = tracing.tracer("m", "1", CONFIG)
    assert tracer is not None
    held = batch(3, np.full((1000, 2), 1 / 3, np.float32))
    while tracer.sampler._size or not tracer.sampler._seen:
        tracer.batch_done(held)
    assert tracer.sampler._seen < 100
    tracing.close()
    trace, tensor, output = lines(tmp_path)[:3]
    assert "timestamps" not in trace
    assert (tensor["id"], tensor["tensor"]["name"]) == ("r0", "x")
    assert (output["id"], output["tensor"]["name"]) == ("r0", "y")
