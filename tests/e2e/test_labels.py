"""Labels and what follows from them, where two versions of a model answer side by side."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from serving.models.export import save_files

pytestmark = pytest.mark.e2e
ROWS = 50
NET = """
import numpy as np


class Net:
    def predict(self, inputs):
        scores = np.full((len(inputs["x"]), 3), 0.1, np.float32)
        scores[:, {best}] = 0.8
        return {{"y": scores}}


def build():
    return Net()
"""


@pytest.fixture(scope="module")
def two_versions(
    running: Callable[..., Any],
    make_lab: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """Serves `lab` in two versions: the first says class 0 of every row, the second class 1."""
    models = make_lab()
    config = models / "lab" / "model.yaml"
    text = config.read_text().replace("{drift: null}", "{drift: {reference: live}}")
    config.write_text(f"versions: all\n{text}")
    shutil.rmtree(models / "lab" / "1")
    for version in (1, 2):
        source = models.parent / "net.py"
        source.write_text(NET.format(best=version - 1))
        save_files(models / "lab" / str(version), source)
    with running(models, tmp_path_factory.mktemp("labels")) as instance:
        yield instance


def test_labels_find_the_version_that_made_the_prediction(
    two_versions: Any, eventually: Callable[..., Any]
) -> None:
    instance = two_versions
    eventually("the monitor", lambda: instance.members("monitor"))
    findings = f"{instance.url}/v2/models/lab/findings"
    eventually("its connection", lambda: httpx.get(findings, timeout=60).status_code == 200)
    rng = np.random.default_rng(0)
    # Version 2 is asked more, and the rest of that never gets a label.
    for version, requests in (("1", 4), ("2", 5)):
        for number in range(requests):
            x = rng.standard_normal((ROWS, 4), np.float32)
            x[:, 1] = 0  # the model would sleep for it
            tensor = {"name": "x", "datatype": "FP32", "shape": [ROWS, 4], "data": x.tolist()}
            answer = httpx.post(
                f"{instance.url}/v2/models/lab/versions/{version}/infer",
                json={"id": f"v{version}-{number}", "inputs": [tensor]},
                timeout=60,
            ).json()
            assert answer["model_version"] == version
            scores = np.array(answer["outputs"][0]["data"]).reshape(ROWS, 3)
            assert set(scores.argmax(1)) == {int(version) - 1}
    # One in five rows is of class 1: each version is right about its own share.
    labels = [
        {"id": f"v{version}-{number}", "index": row, "y_true": int(row % 5 == 0)}
        for row in range(ROWS)
        for version in (1, 2)
        for number in range(4)
    ]
    url = f"{instance.url}/v2/models/lab/labels"
    told = httpx.post(url, json={"labels": labels}, timeout=60).json()
    assert told == {"accepted": 400, "duplicate": 0, "unknown": 0, "late": 0}
    told = httpx.post(url, json={"labels": labels}, timeout=60).json()
    assert told == {"accepted": 0, "duplicate": 400, "unknown": 0, "late": 0}

    def of(version: str) -> tuple[float, ...]:
        score, coverage = "vigil_performance_score", "vigil_labels_coverage_ratio"
        values = [
            instance.metric(score, model="lab", version=version, metric="accuracy"),
            instance.metric(coverage, model="lab", version=version),
        ]
        requests = "vigil_inference_requests_total"
        count = instance.metric(requests, model="lab", version=version, outcome="ok")
        return (*(round(value, 3) for value in values), count)

    eventually("metrics of version 1", lambda: of("1") == (0.8, 1.0, 4))
    eventually("metrics of version 2", lambda: of("2") == (0.2, 0.8, 5))
    found = httpx.get(findings, timeout=60).json()["findings"]
    accuracy = {item["version"]: item["value"] for item in found if item["metric"] == "accuracy"}
    assert {version: round(value, 3) for version, value in accuracy.items()} == {
        "1": 0.8,
        "2": 0.2,
    }
