"""Inputs without rows, and models without a row axis, in the formats that can have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from onnx import TensorProto, helper

from serving.config import ConfigError
from serving.errors import InvalidInput
from serving.models.export import save_torch_export
from serving.models.formats.loader import load
from serving.models.preparation.prepare import prepare
from serving.models.repository.folder import ModelEntry, ModelRepository
from serving.models.repository.manifest import write_folder_manifest
from serving.models.rowless import same_in_all_rows

X = np.arange(6, dtype=np.float32).reshape(3, 2)
MakeGraph = Callable[..., ModelEntry]


@pytest.fixture
def make_graph(tmp_path: Path) -> MakeGraph:
    """Makes an ONNX model of `y = a * b` for inputs of these shapes."""

    def make(
        a: list[Any], b: list[Any], y: list[Any], config: dict[str, Any] | None = None
    ) -> ModelEntry:
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            [helper.make_node("Mul", ["a", "b"], ["y"])],
            "g",
            [value("a", TensorProto.FLOAT, a), value("b", TensorProto.FLOAT, b)],
            [value("y", TensorProto.FLOAT, y)],
        )
        opset = helper.make_opsetid("", 17)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
        folder = tmp_path / "models" / "graph"
        (folder / "1").mkdir(parents=True)
        (folder / "1" / "model.onnx").write_bytes(model.SerializeToString())
        write_folder_manifest(folder / "1")
        (folder / "model.yaml").write_text(yaml.safe_dump({"format": "onnx", **(config or {})}))
        return ModelRepository(tmp_path / "models").get("graph")

    return make


@pytest.mark.parametrize("shape", [[], [2], [1], [1, 2]])
def test_a_graph_tells_its_inputs_without_rows(make_graph: MakeGraph, shape: list[int]) -> None:
    entry = make_graph(["n", 2], shape, ["n", 2])
    spec = entry.config.inputs[1]
    assert (spec.shape, spec.rowless) == ([-1, *shape], True)
    assert entry.config.own_shape(spec) == shape
    model = prepare(entry, "cpu").model
    value = np.random.default_rng(0).random(shape, np.float32)
    given = np.broadcast_to(value, (3, *shape))
    np.testing.assert_array_equal(model.predict({"a": X, "b": given})["y"], X * value)
    assert model.predict({"a": X[:0], "b": given[:0]})["y"].shape == (0, 2)


def test_rows_that_differ_in_it_are_refused(make_graph: MakeGraph) -> None:
    model = load(make_graph(["n", 2], [], ["n", 2]), "cpu")
    with pytest.raises(InvalidInput, match="input 'b' has no rows, so all rows"):
        model.predict({"a": X, "b": np.arange(3, dtype=np.float32)})


def test_a_declared_shape_says_what_has_no_rows(make_graph: MakeGraph) -> None:
    inputs = [
        {"name": "a", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "b", "datatype": "FP32", "shape": [2]},
    ]
    entry = make_graph(["n", 2], [2], ["n", 2], {"inputs": inputs})
    found = load(entry, "cpu").predict({"a": X, "b": np.tile(np.float32([1, 2]), (3, 1))})["y"]
    np.testing.assert_array_equal(found, X * [1, 2])


def test_a_shape_that_does_not_fit_says_what_to_write(make_graph: MakeGraph) -> None:
    inputs = [
        {"name": "a", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "b", "datatype": "FP32", "shape": [-1]},
    ]
    with pytest.raises(ConfigError, match=r"write `shape: \[2\]` if all rows of a request share"):
        load(make_graph(["n", 2], [2], ["n", 2], {"inputs": inputs}), "cpu")


def test_a_graph_without_rows_says_how_to_serve_it(make_graph: MakeGraph) -> None:
    with pytest.raises(ConfigError, match=r"`batching: \{row_axis: false\}`"):
        make_graph([3, 2], [2], [3, 2])


def test_a_graph_without_rows_is_served_request_by_request(make_graph: MakeGraph) -> None:
    entry = make_graph([3, 2], [2], [3, 2], {"batching": {"row_axis": False}})
    assert [entry.config.own_shape(spec) for spec in entry.config.inputs] == [[3, 2], [2]]
    assert entry.config.own_shape(entry.config.outputs[0]) == [3, 2]
    model = prepare(entry, "cpu").model
    several = {"a": np.stack([X, X + 1]), "b": np.float32([[1, 2], [3, 4]])}
    expected = np.stack([X * [1, 2], (X + 1) * [3, 4]])
    np.testing.assert_array_equal(model.predict(several)["y"], expected)


def test_an_example_may_have_tritons_shape(make_graph: MakeGraph) -> None:
    entry = make_graph(["n"], [], ["n"])
    triton = [
        {"name": "a", "datatype": "FP32", "shape": [2, 1], "data": [1, 2]},
        {"name": "b", "datatype": "FP32", "shape": [1], "data": [3]},
    ]
    folder = entry.directory.parent
    (folder / "example.json").write_text(json.dumps({"inputs": triton}))
    (folder / "model.yaml").write_text("format: onnx\nexample: example.json\n")
    entry = ModelRepository(folder.parent).get("graph")
    assert prepare(entry, "cpu").rows.startswith("2 rows of the example give the same")


class Threshold(torch.nn.Module):
    def forward(self, x: torch.Tensor, t: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": x * t}


def test_an_exported_graph_with_a_threshold(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "exported"
    save_torch_export(Threshold(), [torch.ones(2, 2), torch.tensor(0.5)], folder / "1")
    (folder / "model.yaml").write_text("format: torch_export\n")
    entry = ModelRepository(tmp_path / "models").get("exported")
    assert [entry.config.own_shape(spec) for spec in entry.config.inputs] == [[-1, 2], []]
    found = prepare(entry, "cpu").model.predict({"x": X, "t": np.full(3, 4, np.float32)})
    np.testing.assert_array_equal(found["y"], X * 4)


@pytest.mark.parametrize(
    ("array", "same"),
    [
        (np.array([np.nan, np.nan]), True),
        (np.array([1.0, 2.0]), False),
        (np.array([[1, 2], [1, 2]]), True),
        (np.array([[1, 2], [1, 3]]), False),
        (np.array([b"a", b"a"], object), True),
        (np.array([b"a", b"b"], object), False),
        (np.zeros((3, 0)), True),
        (np.broadcast_to(np.float32(1), (4,)), True),
    ],
)
def test_same_in_all_rows(array: np.ndarray, same: bool) -> None:
    assert same_in_all_rows(array) is same
