"""Debian's Prometheus scrapes a real server, native histograms included."""

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.once]
PROMETHEUS = shutil.which("prometheus")
Eventually = Callable[..., Any]
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: vigil
    static_configs: [{{targets: ["{target}"]}}]
"""


@pytest.fixture
def prometheus(instance: Any, tmp_path: Path, eventually: Eventually) -> Iterator[str]:
    """Its address; it scrapes the instance once a second."""
    if PROMETHEUS is None:
        pytest.skip("prometheus is not installed (Debian's package `prometheus`)")
    config = tmp_path / "prometheus.yml"
    config.write_text(CONFIG.format(target=urlsplit(instance.admin).netloc))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={address}", "--enable-feature=native-histograms",
        "--log.level=error",
    ]  # fmt: skip
    with subprocess.Popen(command) as process:
        try:
            url = f"http://{address}"
            eventually("Prometheus", lambda: ready(url))
            yield url
        finally:
            process.terminate()


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=60).status_code == 200
    except httpx.TransportError:
        return False


def ask(url: str, query: str) -> list[Any]:
    answer = httpx.get(f"{url}/api/v1/query", params={"query": query}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["result"]


def test_it_ingests_durations_as_native_histograms(
    instance: Any, prometheus: str, eventually: Eventually
) -> None:
    row = {"name": "x", "datatype": "FP32", "shape": [1, 30], "data": np.ones(30).tolist()}
    for _ in range(20):
        assert instance.infer("cancer", [row]).status_code == 200
    instance.settle()
    which = {"model": "cancer", "outcome": "ok"}
    wanted = instance.metric("vigil_inference_duration_seconds_count", **which)
    assert wanted >= 20
    name = 'vigil_inference_duration_seconds{model="cancer",outcome="ok"}'

    def histogram() -> Any:
        for found in ask(prometheus, name):
            if "histogram" in found and float(found["histogram"][1]["count"]) == wanted:
                return found["histogram"][1]
        return None

    native = eventually("a native histogram", histogram)
    buckets = native["buckets"]
    assert sum(float(count) for *_, count in buckets) == wanted
    growth = [float(upper) / float(lower) for _, lower, upper, _ in buckets if float(lower) > 1e-6]
    assert growth == pytest.approx([2 ** (1 / 8)] * len(growth))
    (median,) = ask(prometheus, f"histogram_quantile(0.5, {name})")
    assert 1e-5 < float(median["value"][1]) < 60
    # What is no duration is there as ever, and the server is up in the eyes of its scraper.
    assert ask(prometheus, "vigil_build_info")
    assert ask(prometheus, "vigil_inference_requests_total{model='cancer',outcome='ok'}")
    assert ask(prometheus, 'up{job="vigil"}')[0]["value"][1] == "1"
