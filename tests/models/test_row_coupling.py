"""Rows alone, together and permuted: what is told of models that mix them, and of those that don't.

Each network here is a kind that people serve: a softmax over the candidates of one request, a first
axis of time, statistics of the batch, noise, and heads that do none of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from serving.cli import app
from serving.errors import ModelFailed
from serving.models.export import save_files
from serving.models.prepare import prepare
from serving.models.repository import ModelEntry, ModelRepository

X = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
Y = {"name": "y", "datatype": "FP32", "shape": [-1]}
CONFIG = {
    "format": "python",
    "factory": "model:Net",
    "trust_code": True,
    "inputs": [X],
    "outputs": [Y],
}
SOURCE = """
import numpy as np

class Net:
    def predict(self, inputs):
        x = inputs["x"]
        {body}
"""
COUPLED = {
    "candidates": "e = np.exp(x.sum(1)); return {'y': (e / e.sum()).astype('f4')}",
    "time": "return {'y': np.cumsum(x.sum(1)).astype('f4')}",
    "time-from-the-end": "return {'y': np.cumsum(x.sum(1)[::-1])[::-1].astype('f4')}",
    "statistics": "return {'y': ((x - x.mean(0)) / (x.std(0) + 1e-5)).sum(1).astype('f4')}",
    "only-the-size": "return {'y': np.full(len(x), len(x), 'f4')}",
    "rank": "return {'y': x.sum(1).argsort().argsort().astype('f4')}",
    "first-row": "return {'y': (x[:, 0] - x[0, 0]).astype('f4')}",
    "sorted": "return {'y': np.sort(x.sum(1)).astype('f4')}",
    "invalid-before-others": ("y = x[:, 0].copy(); y[:-1] = np.nan; return {'y': y}"),
}
SOUND = {
    "linear": "return {'y': x.sum(1)}",
    "confident": "return {'y': (1 / (1 + np.exp(-50 * x.sum(1)))).astype('f4')}",
    "another-order-of-summation": "return {'y': (x if len(x) > 1 else x[:, ::-1]).sum(1)}",
    "constant": "return {'y': np.zeros(len(x), 'f4')}",
    "not-finite": "return {'y': np.where(x[:, 0] > 2.5, np.inf, x[:, 0]).astype('f4')}",
}
MakeNet = Callable[..., ModelEntry]


@pytest.fixture
def make(tmp_path: Path) -> MakeNet:
    def build(body: str, example: list[list[float]] | None = None, **config: Any) -> ModelEntry:
        folder = tmp_path / "models" / "net"
        (folder / "1").mkdir(parents=True)
        (tmp_path / "model.py").write_text(SOURCE.format(body=body))
        save_files(folder / "1", tmp_path / "model.py")
        more = {}
        if example is not None:
            rows = np.array(example)
            tensor = {**X, "shape": list(rows.shape), "data": rows.ravel().tolist()}
            (folder / "example.json").write_text(json.dumps({"inputs": [tensor]}))
            more = {"example": "example.json"}
        (folder / "model.yaml").write_text(yaml.safe_dump({**CONFIG, **more, **config}))
        return ModelRepository(tmp_path / "models").get("net")

    return build


@pytest.mark.parametrize("example", [None, [[1, 2, 3]], [[1, 2, 3], [3, 1, 1], [2, 2, 0]]])
@pytest.mark.parametrize("kind", COUPLED)
def test_models_that_mix_rows_are_refused(make: MakeNet, kind: str, example: Any) -> None:
    with pytest.raises(ModelFailed, match=r"output 'y' of a row depends on.*join: false"):
        prepare(make(COUPLED[kind], example), "cpu")


@pytest.mark.parametrize("example", [None, [[1, 2, 3]], [[1, 2, 3], [3, 1, 1]]])
@pytest.mark.parametrize("kind", SOUND)
def test_models_that_mix_none_are_served(make: MakeNet, kind: str, example: Any) -> None:
    told = prepare(make(SOUND[kind], example), "cpu").rows
    assert "give the same alone, together and in another order" in told
    what = {None: "3 rows made of zeros", 1: "3 rows made of the example", 2: "2 rows of"}
    assert told.startswith(what[example and len(example)])


@pytest.mark.parametrize("kind", COUPLED)
@pytest.mark.parametrize("batching", [{"join": False}, {"row_axis": False}])
def test_never_joined_is_never_compared(
    make: MakeNet, kind: str, batching: dict[str, bool]
) -> None:
    config: dict[str, Any] = {"batching": batching}
    body = COUPLED[kind]
    if "row_axis" in batching:
        config |= {"inputs": [{**X, "shape": [-1, -1, 3]}], "outputs": [{**Y, "shape": [-1, -1]}]}
    told = prepare(make(body, [[1, 2, 3], [3, 1, 1]], **config), "cpu").rows
    assert told.startswith("rows not compared: each request is")


def test_one_row_per_batch_is_compared_too(make: MakeNet) -> None:
    # A request of several rows is cut then, and a softmax over one candidate is always 1.
    with pytest.raises(ModelFailed, match="depends on the rows beside it"):
        prepare(make(COUPLED["candidates"], batching={"max_batch_size": 1}), "cpu")


def test_models_of_one_row_only_are_not_compared(make: MakeNet) -> None:
    body = "assert len(x) == 1, 'one row only'; return {'y': x[:, 0]}"
    told = prepare(make(body, batching={"max_batch_size": 1}), "cpu").rows
    assert told.startswith("rows not compared: the model does not compute what was tried")
    assert "one row only" in told


def test_noise_is_not_mistaken_for_coupling(make: MakeNet) -> None:
    body = "return {'y': np.random.default_rng().random(len(x), 'f4')}"
    told = prepare(make(body), "cpu").rows
    assert told == "rows not compared: output 'y' differs from run to run"


def test_values_stay_within_the_limits(make: MakeNet) -> None:
    body = "assert (x >= 1).all() and (x <= 2).all(), x; return {'y': np.log(x[:, 0])}"
    inputs = [{**X, "min": 1, "max": 2}]
    told = prepare(make(body, [[1, 2, 1]], inputs=inputs), "cpu").rows
    assert told.startswith("3 rows made of the example")


def test_indices_are_only_moved(make: MakeNet) -> None:
    body = (
        "assert set(x.ravel().tolist()) <= {7, 9, 11}, x; return {'y': (x[:, 0] * 1.).astype('f4')}"
    )
    config = {"inputs": [{**X, "datatype": "INT64"}]}
    entry = make(body, **config)
    (entry.directory.parent / "example.json").write_text(
        json.dumps(
            {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1, 3], "data": [7, 9, 11]}]}
        )
    )
    path = entry.directory.parent / "model.yaml"
    path.write_text(path.read_text() + "example: example.json\n")
    entry = ModelRepository(entry.directory.parent.parent).get("net")
    assert prepare(entry, "cpu").rows.startswith("3 rows made of the example give the same")


def test_check_says_what_it_found(make: MakeNet) -> None:
    models = make(COUPLED["time"]).directory.parent.parent
    found = CliRunner().invoke(app, ["check", "--models", str(models)])
    assert found.exit_code == 1
    assert "output 'y' of a row depends on the rows beside it" in found.output
    path = models / "net" / "model.yaml"
    path.write_text(path.read_text() + "batching: {join: false}\n")
    found = CliRunner().invoke(app, ["check", "--models", str(models)])
    assert found.exit_code == 0
    assert "net version 1: rows not compared: each request is computed alone" in found.output


def test_text_of_one_axis_is_compared(make: MakeNet) -> None:
    text = {"name": "x", "datatype": "BYTES", "shape": [-1]}
    example = {**text, "shape": [2], "data": ["a", "bc"]}
    body = "return {'y': np.array([len(t) for t in x], 'f4')}"
    entry = make(body, inputs=[text])
    assert prepare(entry, "cpu").rows.startswith("3 copies of one row give the same")
    folder = entry.directory.parent
    (folder / "example.json").write_text(json.dumps({"inputs": [example]}))
    (folder / "model.yaml").write_text(
        (folder / "model.yaml").read_text() + "example: example.json\n"
    )
    entry = ModelRepository(folder.parent).get("net")
    assert prepare(entry, "cpu").rows.startswith("2 rows of the example give the same")
