"""Which requests are traced, what a trace says, and how large its file may become."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serving.channel.messages.inference import BatchResult, ResultMeta
from serving.channel.messages.settings import Settings, TraceSettings
from serving.config import ModelConfig
from serving.dataplane.batching.batch import Batch
from serving.dataplane.hooks.trace_file import MOST_WAITING, TraceFile
from serving.dataplane.hooks.tracing import Tracing
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending

ON = TraceSettings(timestamps=True, rate=1)
SIGNATURE = [{"name": name, "datatype": "FP32", "shape": [-1, 2]} for name in "xy"]
CONFIG = ModelConfig.model_validate(
    {"format": "onnx", "inputs": SIGNATURE[:1], "outputs": SIGNATURE[1:]}
)
RESULT = BatchResult({}, ResultMeta({}, (), 1000, 500))


@pytest.fixture
def tracing() -> Iterator[Tracing]:
    tracing = Tracing("g")
    yield tracing
    tracing.close()


def batch(size: int) -> Batch:
    array = np.zeros((1, 2), np.float32)
    bound = Bound((array,), 1, ((2,),), (), None)
    arrived = time.monotonic() - 0.5
    items: list[Any] = [Pending(f"r{number}", bound, None, arrived) for number in range(size)]  # type: ignore[arg-type]
    return Batch(("x",), items, time.monotonic() - 0.2)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "g.jsonl").read_text().splitlines()]


def test_nothing_is_traced_unless_asked_for(tracing: Tracing, tmp_path: Path) -> None:
    assert tracing.tracer("m", "1", CONFIG) is None
    tracing.follow(Settings(1, trace_of={"m": ON}, folder=str(tmp_path)))
    assert tracing.tracer("n", "1", CONFIG) is None
    assert tracing.tracer("m", "1", CONFIG) is not None
    tracing.follow(Settings(2, folder=str(tmp_path)))
    assert tracing.tracer("m", "1", CONFIG) is None


def test_a_trace_tells_the_times_of_its_request(tracing: Tracing, tmp_path: Path) -> None:
    tracing.follow(Settings(1, trace=ON, folder=str(tmp_path / "traces")))
    tracer = tracing.tracer("m", "3", CONFIG)
    assert tracer is not None
    tracer.answered(batch(1), RESULT)
    tracing.close()
    (trace,) = lines(tmp_path / "traces")
    assert (trace["id"], trace["model_name"], trace["model_version"]) == ("r0", "m", 3)
    assert [moment["name"] for moment in trace["timestamps"]] == [
        "REQUEST_START", "QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END",
        "COMPUTE_OUTPUT_START", "COMPUTE_END", "REQUEST_END",
    ]  # fmt: skip
    times = [moment["ns"] for moment in trace["timestamps"]]
    assert times == sorted(times)
    assert times[4] - times[3] == RESULT.meta.compute_ns
    assert times[5] - times[4] == RESULT.meta.guard_ns
    assert abs(times[-1] - time.time_ns()) < 60e9


def test_every_so_many_th_request_up_to_a_count(tracing: Tracing, tmp_path: Path) -> None:
    settings = TraceSettings(True, rate=3, count=2)
    tracing.follow(Settings(1, trace=settings, folder=str(tmp_path)))
    tracer = tracing.tracer("m", "1", CONFIG)
    assert tracer is not None
    tracer.answered(batch(4), RESULT)
    tracer.answered(batch(20), RESULT)
    tracing.close()
    assert [trace["id"] for trace in lines(tmp_path)] == ["r2", "r1"]


def test_traces_gather_before_they_are_written_and_none_is_lost(
    tracing: Tracing, tmp_path: Path
) -> None:
    settings = TraceSettings(True, rate=1, log_frequency=10)
    tracing.follow(Settings(1, trace=settings, folder=str(tmp_path)))
    tracer = tracing.tracer("m", "1", CONFIG)
    assert tracer is not None
    tracer.answered(batch(13), RESULT)
    tracing.follow(Settings(2, folder=str(tmp_path)))
    tracing.close()
    assert len(lines(tmp_path)) == 13


def test_long_traces_do_not_gather(tracing: Tracing, tmp_path: Path) -> None:
    settings = TraceSettings(rate=1, log_frequency=10**6, tensors=True)
    tracing.follow(Settings(1, trace=settings, folder=str(tmp_path)))
    tracer = tracing.tracer("m", "1", CONFIG)
    assert tracer is not None
    held = batch(3)
    for item in held.items:
        wide = np.full((1000, 2), 1 / 3, np.float32)
        item.bound = Bound((wide,), 1000, ((2,),), (), None)
        item.future = SimpleNamespace(done=lambda: False)  # type: ignore[assignment]
    while tracer.sampler._size or not tracer.sampler._seen:
        tracer.answered(held, RESULT)
    assert tracer.sampler._seen < 100
    tracing.close()
    trace, tensor = lines(tmp_path)[:2]
    assert "timestamps" not in trace
    assert (tensor["id"], tensor["tensor"]["name"]) == ("r0", "x")


def test_a_file_that_is_full_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    file = TraceFile(path, most_bytes=25)
    for number in range(7):
        file.write([b"line %d....\n" % number])
    file.close()
    assert path.read_bytes() == b"line 6....\n"
    assert (tmp_path / "t.jsonl.1").read_bytes() == b"line 4....\nline 5....\n"
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}


def test_a_file_of_an_earlier_release_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("old\n")
    path.chmod(0o644)
    file = TraceFile(path)
    file.write([b"new\n"])
    file.close()
    assert path.read_text() == "old\nnew\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_the_disk_does_not_keep_up_with_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, written = threading.Event(), []

    def append(_file: TraceFile, data: bytes) -> None:
        go_on.wait(60)
        written.append(len(data))

    monkeypatch.setattr(TraceFile, "_append", append)
    file = TraceFile(tmp_path / "t.jsonl")
    half = bytes(MOST_WAITING // 2)
    for traces in ([half, half, half], [b"more"]):
        file.write(traces)
    assert file.dropped == 1
    go_on.set()
    file.close()
    assert written == [3 * len(half)]


def test_a_folder_that_cannot_be_made_costs_traces_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    file = TraceFile(tmp_path / "file" / "t.jsonl")
    file.write([b"a\n", b"b\n"])
    file.close()
    assert file.dropped == 2
