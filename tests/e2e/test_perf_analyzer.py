"""Triton's perf_analyzer, a C++ client as it was published, measures a running instance."""

import json
import os
import re
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
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


@pytest.fixture
def server(triton_server: Any) -> Any:
    if missing := perf_analyzer.missing(HOME):
        # In CI nothing may be missing: a skip would hide it.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs perf_analyzer: {missing}")
    return triton_server


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Rows for `identity_fp32`, as perf_analyzer reads them."""
    row = {"INPUT0": {"content": [0.5, -1.5, 2.0], "shape": [3]}}
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"data": [row, row]}))
    return path


def measure(server: Any, protocols: Iterable[str], model: str, *options: str) -> None:
    """Run one for each protocol, side by side, and look at what both sides have counted."""

    def run(protocol: str) -> subprocess.CompletedProcess[str]:
        address = server.url.removeprefix("http://") if protocol == "http" else server.grpc
        where = ["-m", model, "-u", address, *PROTOCOLS[protocol]]
        return perf_analyzer.run(HOME, [*where, *SHORT, *options], timeout_s=200)

    before = server.statistics(model)["inference_stats"]
    with ThreadPoolExecutor(len(PROTOCOLS)) as pool:
        runs = dict(zip(protocols, pool.map(run, protocols), strict=True))
    asked = 0
    for protocol, ended in runs.items():
        said = ended.stdout + ended.stderr
        assert ended.returncode == 0, (protocol, said)
        (rate,) = re.findall(r"throughput: ([\d.]+) infer/sec", said)
        assert float(rate) > 0, protocol
        (count,) = re.findall(r"Client:.*?Request count: (\d+)", said, re.DOTALL)
        assert int(count) >= 150, protocol
        asked += int(count)
    counted = server.statistics(model)["inference_stats"]
    assert counted["success"]["count"] >= before["success"]["count"] + asked
    assert counted["fail"]["count"] == before["fail"]["count"]


def test_a_free_dimension_whose_size_is_given(server: Any) -> None:
    measure(server, PROTOCOLS, "identity_fp32", "--shape", "INPUT0:7")


def test_rows_from_a_file_sixteen_at_a_time(server: Any, rows: Path) -> None:
    measure(
        server, PROTOCOLS, "identity_fp32",
        "--input-data", str(rows), "--concurrency-range", "16", "-b", "2",
    )  # fmt: skip


def test_texts(server: Any) -> None:
    texts = ("--shape", "INPUT0:3", "--string-length", "8")
    measure(server, ("http", "stream"), "simple_identity", *texts)
