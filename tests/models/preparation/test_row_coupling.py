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
from serving.models.preparation.prepare import prepare
from serving.models.repository.folder import ModelEntry, ModelRepository

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
    "beside-a-large-column": (
        "e = np.exp(x.sum(1) - x.sum(1).max());"
        "return {'y': np.where(np.arange(len(x)) >= 0, e / e.sum(), 0).astype('f4')}"
    ),
    "keeps-the-best-five": (
        "s = x.sum(1); kept = s >= np.sort(s)[-5:][0];"
        "return {'y': np.where(kept, s, -99).astype('f4')}"
    ),
    "drops-duplicates": (
        "u, at = np.unique(x, axis=0, return_index=True); y = np.zeros(len(x), 'f4'); y[at] = 1;"
        "return {'y': y}"
    ),
    "invalid-before-others": ("y = x[:, 0].copy(); y[:-1] = np.nan; return {'y': y}"),
}
SOUND = {
    "linear": "return {'y': x.sum(1)}",
    "confident": (
        "z = x.sum(1).clip(-9, 9).astype('f8');"
        "return {'y': (1 / (1 + np.exp(-50 * z))).astype('f4')}"
    ),
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
    with pytest.raises(ModelFailed, match=r"(of a row depends on|not together).*join: false"):
        prepare(make(COUPLED[kind], example), "cpu")


@pytest.mark.parametrize("example", [None, [[1, 2, 3]], [[1, 2, 3], [3, 1, 1]]])
@pytest.mark.parametrize("kind", SOUND)
def test_models_that_mix_none_are_served(make: MakeNet, kind: str, example: Any) -> None:
    told = prepare(make(SOUND[kind], example), "cpu").rows
    assert "give the same alone, together and in another order" in told
    what = {None: "16 rows made of zeros", 1: "16 rows made of the example", 2: "2 rows of"}
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


def test_what_is_computed_alone_but_not_together_is_refused(make: MakeNet) -> None:
    body = "return {'y': x.sum(1).mean(keepdims=True).astype('f4')}"
    with pytest.raises(ModelFailed, match=r"alone but not together.*shape \[1\] for 16 rows"):
        prepare(make(body), "cpu")


def test_models_of_one_row_only_must_say_so(make: MakeNet) -> None:
    body = "assert len(x) == 1, 'one row only'; return {'y': x[:, 0]}"
    with pytest.raises(ModelFailed, match=r"alone but not together.*max_batch_size: 1"):
        prepare(make(body), "cpu")


def test_models_of_one_row_only_are_not_compared(make: MakeNet) -> None:
    body = "assert len(x) == 1, 'one row only'; return {'y': x[:, 0]}"
    told = prepare(make(body, batching={"max_batch_size": 1}), "cpu").rows
    assert told == "rows not compared: the model computes one row at a time, as max_batch_size says"


def test_noise_is_not_mistaken_for_coupling(make: MakeNet) -> None:
    body = "return {'y': np.random.default_rng().random(len(x), 'f4')}"
    told = prepare(make(body), "cpu").rows
    assert told == "rows not compared: output 'y' differs from run to run"


TWO = [Y, {**Y, "name": "noise"}]
NOISE = "'noise': np.random.default_rng().random(len(x), 'f4')"


def test_noise_in_one_output_hides_no_coupling_of_another(make: MakeNet) -> None:
    told = prepare(make(f"return {{'y': x.sum(1), {NOISE}}}", outputs=TWO), "cpu").rows
    assert "16 rows made of zeros give the same" in told
    assert "output 'noise' was not compared, since it differs from run to run" in told


def test_noise_beside_coupling(make: MakeNet) -> None:
    body = f"e = np.exp(x.sum(1)); return {{'y': (e / e.sum()).astype('f4'), {NOISE}}}"
    with pytest.raises(ModelFailed, match="output 'y' of a row depends on"):
        prepare(make(body, outputs=TWO), "cpu")


def test_a_small_column_beside_a_large_one(make: MakeNet) -> None:
    body = (
        "e = np.exp(x.sum(1)); "
        "return {'y': np.stack([2e5 + 1e5 * x[:, 0], e / e.sum()], 1).astype('f4')}"
    )
    with pytest.raises(ModelFailed, match="output 'y' of a row depends on"):
        prepare(make(body, outputs=[{**Y, "shape": [-1, 2]}]), "cpu")


def test_rounding_that_depends_on_the_batch_is_told(make: MakeNet) -> None:
    # As a dynamically quantised layer does: the step is that of the largest value beside.
    body = (
        "step = np.abs(x).max() / 127;return {'y': (np.round(x / step) * step).sum(1).astype('f4')}"
    )
    told = prepare(make(body, [[1, 2, 3], [1.1, 2, 2.9]]), "cpu").rows
    assert "its rounding depends on the rows beside" in told


def test_labels_that_rounding_decides(make: MakeNet) -> None:
    labels = [{**Y, "datatype": "INT64"}]
    tie = "y = (x[:, 0] > 0).astype('i8'); y[:1] ^= len(x) > 1; return {'y': y}"
    assert "give the same" in prepare(make(tie, outputs=labels), "cpu").rows


def test_labels_that_depend_on_the_rows_beside(make: MakeNet) -> None:
    best = "return {'y': (x.sum(1) == x.sum(1).max()).astype('i8')}"
    with pytest.raises(ModelFailed, match="output 'y' of a row depends on"):
        prepare(make(best, outputs=[{**Y, "datatype": "INT64"}]), "cpu")


@pytest.mark.parametrize(
    ("datatype", "body"),
    [
        ("UINT8", "return {'y': (x - x.mean()).sum(1).astype('f4')}"),
        ("BOOL", "return {'y': np.full(len(x), x.sum(), 'f4')}"),
        ("INT64", "return {'y': np.cumsum(x.sum(1)).astype('f4')}"),
    ],
)
def test_integers_without_an_example_are_varied(make: MakeNet, datatype: str, body: str) -> None:
    with pytest.raises(ModelFailed, match="output 'y' of a row depends on"):
        prepare(make(body, inputs=[{**X, "datatype": datatype}]), "cpu")


def test_a_batch_is_never_larger_than_requests_make_it(make: MakeNet) -> None:
    body = "assert len(x) <= 4, len(x); return {'y': x.sum(1)}"
    entry = make(body, [[1, 2, 3]], batching={"max_batch_size": 4})
    assert prepare(entry, "cpu").rows.startswith("4 rows made of the example give the same")


def test_values_stay_within_the_limits(make: MakeNet) -> None:
    body = "assert (x >= 1).all() and (x <= 2).all(), x; return {'y': np.log(x[:, 0])}"
    inputs = [{**X, "min": 1, "max": 2}]
    told = prepare(make(body, [[1, 2, 1]], inputs=inputs), "cpu").rows
    assert told.startswith("16 rows made of the example")


def test_indices_stay_at_or_below_those_of_the_example(make: MakeNet) -> None:
    body = (
        "assert x.min() >= 0 and (x <= [7, 9, 11]).all(), x;"
        "return {'y': (x[:, 0] * 1.).astype('f4')}"
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
    assert prepare(entry, "cpu").rows.startswith("16 rows made of the example give the same")


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
    assert prepare(entry, "cpu").rows.startswith("16 copies of one row give the same")
    folder = entry.directory.parent
    (folder / "example.json").write_text(json.dumps({"inputs": [example]}))
    (folder / "model.yaml").write_text(
        (folder / "model.yaml").read_text() + "example: example.json\n"
    )
    entry = ModelRepository(folder.parent).get("net")
    assert prepare(entry, "cpu").rows.startswith("2 rows of the example give the same")
