"""Triton's perf_analyzer, a C++ client as it was published, measures a running instance."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtest.home import bench_home
from loadtest.peers import perf_analyzer

HOME = bench_home()
pytestmark = pytest.mark.e2e

# Three short windows, and none of them has to be like the last.
SHORT = [
    "--measurement-mode", "count_windows", "--measurement-request-count", "50",
    "--measurement-interval", "500", "--stability-percentage", "999",
]  # fmt: skip
PROTOCOLS = {
    "http": ["-i", "http"],
    "grpc": ["-i", "grpc"],
    "grpc-async": ["-i", "grpc", "-a"],
    "stream": ["-i", "grpc", "--streaming"],
}


@pytest.fixture(scope="module")
def server(
    triton_models: Path, running: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    if missing := perf_analyzer.missing(HOME):
        # In CI nothing may be missing: a skip would hide it.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs perf_analyzer: {missing}")
    with running(triton_models, tmp_path_factory.mktemp("perf_analyzer")) as started:
        yield started


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Rows for `identity_fp32`, as perf_analyzer reads them."""
    row = {"INPUT0": {"content": [0.5, -1.5, 2.0], "shape": [3]}}
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"data": [row, row]}))
    return path


def measure(server: Any, protocol: str, model: str, *options: str) -> None:
    """Run it, and look at what both sides have counted."""
    before = server.statistics(model)["inference_stats"]["success"]["count"]
    address = server.url.removeprefix("http://") if protocol == "http" else server.grpc
    where = ["-m", model, "-u", address, *PROTOCOLS[protocol]]
    ended = perf_analyzer.run(HOME, [*where, *SHORT, *options], timeout_s=120)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    (rate,) = re.findall(r"throughput: ([\d.]+) infer/sec", said)
    assert float(rate) > 0
    counted = server.statistics(model)["inference_stats"]
    assert counted["success"]["count"] >= before + 150
    assert counted["fail"]["count"] == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_free_dimension_whose_size_is_given(server: Any, protocol: str) -> None:
    measure(server, protocol, "identity_fp32", "--shape", "INPUT0:7")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rows_from_a_file_sixteen_at_a_time(server: Any, protocol: str, rows: Path) -> None:
    measure(
        server, protocol, "identity_fp32",
        "--input-data", str(rows), "--concurrency-range", "16", "-b", "2",
    )  # fmt: skip


@pytest.mark.parametrize("protocol", ["http", "stream"])
def test_texts(server: Any, protocol: str) -> None:
    measure(server, protocol, "simple_identity", "--shape", "INPUT0:3", "--string-length", "8")
