"""A new guard is one new file and one entry in the list: then a server has it everywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from serving.config import load_model
from serving.models.profile.dataset import Dataset, write_dataset

pytestmark = pytest.mark.e2e

CHECKOUT = Path(__file__).parents[2]
TOYS = ("toy_guard", "toy_output_guard")
GUARDS = """
guards:
  - {name: toy_output, action: reject}
  - {name: toy, action: reject, least: 1}
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout with two new guards, each of them a file and an entry."""
    root = tmp_path_factory.mktemp("sources")
    for package in ("monitors", "explain", "guards"):
        (root / package).symlink_to(CHECKOUT / package)
    inner = Path("serving")
    for name in ("config", "guards"):  # the way to the folder that is changed
        (root / inner).mkdir()
        for child in (CHECKOUT / inner).iterdir():
            if child.name not in (name, "__pycache__"):
                (root / inner / child.name).symlink_to(child)
        inner /= name
    shutil.copytree(CHECKOUT / inner, root / inner)
    for toy in TOYS:
        shutil.copy(CHECKOUT / "tests" / "testdata" / f"{toy}.py", root / inner)
    listed = root / inner / "listed.py"
    text = listed.read_text()
    for toy in TOYS:
        text = text.replace("guards import ", f"guards import {toy}, ", 1)
        text = text.replace("    mahalanobis.D", f"    {toy}.DESCRIPTOR,\n    mahalanobis.D", 1)
    assert all(text.count(toy) == 2 for toy in TOYS)
    listed.write_text(text)
    return root


@pytest.fixture(scope="module")
def models(
    tmp_path_factory: pytest.TempPathFactory, sources: Path, put: Callable[..., Path]
) -> Path:
    """A model with both guards, and the profile of the one that learns."""
    root = tmp_path_factory.mktemp("toys") / "models"
    folder = put(root, "m")
    rows = Dataset({"x": np.arange(100, dtype=np.float32)[:, None] / 10})
    data = tmp_path_factory.mktemp("toys-data") / "rows.parquet"
    write_dataset(data, rows, load_model(folder))
    with (folder / "model.yaml").open("a") as file:
        file.write(GUARDS)
    profiled = subprocess.run(
        [
            sys.executable, "-m", "serving.cli", "profile", "m",
            "--data", str(data), "--models", str(root),
        ],
        env={**os.environ, "PYTHONPATH": str(sources), "PYTHONSAFEPATH": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert profiled.returncode == 0, profiled.stderr
    assert (folder / "1" / "profile" / "toy_output.npz").is_file()
    return root


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, sources: Path, models: Path, running: Any
) -> Iterator[Any]:
    workdir = tmp_path_factory.mktemp("toys-run")
    with running(models, workdir, sources=sources) as instance:
        yield instance


def ask(instance: Any, *values: float) -> Any:
    shape = [len(values), 1]
    x = {"name": "x", "datatype": "FP32", "shape": shape, "data": list(values)}
    return instance.infer("m", [x])


def test_new_guards_judge_in_the_gateway_and_beside_the_model(guarded: Any) -> None:
    assert ask(guarded, 2, 3).json()["outputs"][0]["data"] == [4, 6]
    by_input = ask(guarded, 2, 0.5)
    assert by_input.status_code == 422
    assert by_input.json()["error"] == "rejected by guard 'toy': the toy wants larger numbers"
    by_output = ask(guarded, 50)
    assert by_output.status_code == 422
    assert by_output.json()["error"] == (
        "rejected by guard 'toy_output': the toy wants smaller answers"
    )


def test_their_scores_are_in_the_log_and_in_no_answer(
    guarded: Any, eventually: Callable[..., Any]
) -> None:
    largest = 19.8  # of what the reference rows give
    told = [
        httpx.post(
            f"{guarded.url}/v2/models/m/infer", timeout=60,
            json={"id": f"scored-{value}", "inputs": [
                {"name": "x", "datatype": "FP32", "shape": [2, 1], "data": [value, 1.5]}]},
        ).content
        for value in (7.0, 50.0)
    ]  # fmt: skip
    with triton.InferenceServerClient(guarded.grpc) as client:
        tensor = triton.InferInput("x", [2, 1], "FP32")
        tensor.set_data_from_numpy(np.float32([[7.0], [1.5]]))
        said = client.infer("m", [tensor], request_id="scored-grpc").get_response()
        told.append(said.SerializeToString())
        tensor.set_data_from_numpy(np.float32([[0.5], [1.5]]))
        with pytest.raises(InferenceServerException) as refused:
            client.infer("m", [tensor], request_id="scored-early")
        told.append(str(refused.value).encode())

    def rows(ident: str) -> list[dict[str, Any]] | None:
        reply = httpx.get(f"{guarded.url}/v2/models/m/predictions/{ident}", timeout=60)
        return reply.json()["rows"] if reply.status_code == 200 else None

    for ident, value, outcome in (
        ("scored-7.0", 7, "ok"), ("scored-grpc", 7, "ok"), ("scored-50.0", 50, "rejected"),
    ):  # fmt: skip
        found = eventually("the row", lambda ident=ident: rows(ident))
        expected = pytest.approx([2 * value / largest, 3 / largest], rel=1e-5)
        assert [row["scores"]["toy_output"] for row in found] == expected
        assert [row["outcome"] for row in found] == [outcome] * 2
        assert [row["inputs"]["x"] for row in found] == [value, 1.5]
        for score in [row["scores"]["toy_output"] for row in found]:
            bytes_of = [np.float32(score).tobytes(), np.float64(score).tobytes()]
            assert not [w for w in (*bytes_of, f"{score:.5g}".encode()) for t in told if w in t]
    early = eventually("the row", lambda: rows("scored-early"))
    assert [(row["outcome"], row["inputs"]["x"]) for row in early] == [
        ("rejected", 0.5), ("rejected", 1.5),
    ]  # fmt: skip
    assert [row["decisions"] for row in early] == [["toy:reject"]] * 2


def test_their_numbers_are_metrics_like_those_of_any_guard(guarded: Any) -> None:
    guarded.settle()
    names = ("decisions_total", "failures_total", "duration_seconds_count", "score_count")
    before = {
        (guard, name): guarded.metric(f"vigil_guard_{name}", model="m", guard=guard)
        for guard in ("toy", "toy_output")
        for name in names
    }
    assert ask(guarded, 2, 3).status_code == 200
    assert ask(guarded, 0.5).status_code == 422
    assert ask(guarded, 50).status_code == 422
    guarded.settle()
    grown = {
        key: guarded.metric(f"vigil_guard_{key[1]}", model="m", guard=key[0]) - was
        for key, was in before.items()
    }
    assert grown == {
        ("toy", "decisions_total"): 1, ("toy", "failures_total"): 0,
        ("toy", "duration_seconds_count"): 3, ("toy", "score_count"): 0,
        ("toy_output", "decisions_total"): 1, ("toy_output", "failures_total"): 0,
        ("toy_output", "duration_seconds_count"): 2, ("toy_output", "score_count"): 3,
    }  # fmt: skip
