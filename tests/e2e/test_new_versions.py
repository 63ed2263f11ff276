"""A new version is proven before it serves: it answers with numbers, and as clients know it."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from serving.models.repository.manifest import write_folder_manifest

pytestmark = pytest.mark.e2e

NET = """
import numpy as np


class Net:
    def predict(self, inputs):
        x = inputs["x"]
        return {{"y": {expression}}}


def build():
    return Net()
"""
CONFIG = """
format: python
factory: net:build
trust_code: true
inputs: [{{name: x, datatype: FP32, shape: [-1, 1]}}]
outputs: [{{name: {output}, datatype: FP32, shape: [-1, 1]}}]
{more}
monitors: {{drift: {{reference: live}}}}
explain: null
"""
EXAMPLE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [21]}]}
NAN = "x * np.float32('nan')"


def put(root: Path, name: str, version: str, expression: str, output: str = "y") -> None:
    folder = root / name
    (folder / version).mkdir(parents=True, exist_ok=True)
    code = NET.format(expression=expression).replace('"y"', repr(output))
    (folder / version / "net.py").write_text(code)
    write_folder_manifest(folder / version)
    (folder / "example.json").write_text(json.dumps(EXAMPLE))
    more = "" if name == "bare" else "example: example.json"
    (folder / "model.yaml").write_text(CONFIG.format(output=output, more=more))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("versions") / "models"
    for name in ("m", "bare", "other", "sometimes"):
        put(root, name, "1", "x * 2")
    # At the start the newest is broken, and the one before serves.
    put(root, "fallen", "1", "x * 2")
    put(root, "fallen", "2", NAN)
    return root


@pytest.fixture(scope="module")
def server(
    root: Path, tmp_path_factory: pytest.TempPathFactory, running: Callable[..., Any]
) -> Iterator[Any]:
    with running(root, tmp_path_factory.mktemp("run")) as started:
        yield started


def load(server: Any, name: str, **parameters: Any) -> httpx.Response:
    url = f"{server.url}/v2/repository/models/{name}/load"
    return httpx.post(url, json={"parameters": parameters}, timeout=60)


def answers(server: Any, name: str, value: float = 21) -> tuple[str, list[Any]]:
    tensor = {**EXAMPLE["inputs"][0], "data": [value]}
    answer = server.infer(name, [tensor]).json()
    return answer["model_version"], answer["outputs"][0]["data"]


def index(server: Any, name: str) -> dict[str, tuple[str, str]]:
    found = httpx.post(f"{server.url}/v2/repository/index", timeout=60).json()
    return {r["version"]: (r["state"], r["reason"]) for r in found if r["name"] == name}


@pytest.mark.parametrize("name", ["m", "bare"])
def test_a_version_of_nan_leaves_the_one_before(server: Any, root: Path, name: str) -> None:
    put(root, name, "2", NAN)
    failed = load(server, name)
    assert failed.is_error
    assert "output 'y' is NaN or infinite throughout" in failed.json()["error"]
    assert index(server, name)["2"][0] == "UNAVAILABLE"
    assert answers(server, name) == ("1", [42.0])
    put(root, name, "2", "x * 3")
    assert load(server, name).status_code == 200
    assert answers(server, name) == ("2", [63.0])


def test_a_broken_newest_version_falls_back_at_the_start(
    server: Any, eventually: Callable[..., Any]
) -> None:
    eventually("the first", lambda: answers(server, "fallen") == ("1", [42.0]))
    eventually("the reason", lambda: "NaN" in index(server, "fallen")["2"][1])


def test_another_signature_needs_a_word(server: Any, root: Path) -> None:
    put(root, "other", "2", "x * 3", output="z")
    refused = load(server, "other")
    assert refused.is_error
    assert "output 'y' is gone and output 'z' is new" in refused.json()["error"]
    assert answers(server, "other") == ("1", [42.0])
    with (
        tritonclient.grpc.InferenceServerClient(server.grpc) as client,
        pytest.raises(InferenceServerException, match="allow_signature_change"),
    ):
        client.load_model("other")
    assert load(server, "other", allow_signature_change="yes").status_code == 400
    assert load(server, "other", allow_signature_change=True).status_code == 200
    assert answers(server, "other") == ("2", [63.0])
    shutil.rmtree(root / "other" / "2")


def test_answers_that_are_no_numbers_are_counted_told_and_found(
    server: Any, root: Path, eventually: Callable[..., Any]
) -> None:
    put(root, "sometimes", "1", "np.where(x < 0, np.float32('nan'), x)")
    assert load(server, "sometimes").status_code == 200
    eventually("the monitor", lambda: findings(server) is not None)
    assert answers(server, "sometimes", -1) == ("1", [None])

    def found(of: int) -> bool:
        (item,) = [f for f in findings(server) or [] if f["metric"] == "non_finite_rows"]
        told = (item["subject"], item["value"], item["n_current"], item["breached"])
        return told == ("y", 1, of, True)

    eventually("the finding, at the first row", lambda: found(1))
    rows = np.ones((100, 1), np.float32).tolist()
    tensor = {**EXAMPLE["inputs"][0], "shape": [100, 1], "data": rows}
    assert server.infer("sometimes", [tensor]).status_code == 200
    labels = {"model": "sometimes", "version": "1", "output": "y"}
    eventually("count", lambda: server.metric("vigil_quality_violations_total", **labels) == 1)

    def told() -> bool:
        page = httpx.get(f"{server.admin}/console/data", timeout=60).json()
        sentence = "model sometimes version 1: output 'y' was NaN or infinite in 1 rows"
        return any(problem["text"].startswith(sentence) for problem in page["problems"])

    eventually("the console", told)

    eventually("the finding", lambda: found(100))


def findings(server: Any) -> list[dict[str, Any]] | None:
    answer = httpx.get(f"{server.url}/v2/models/sometimes/findings", timeout=60)
    return list(answer.json()["findings"]) if answer.status_code == 200 else None
