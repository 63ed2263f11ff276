import asyncio
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from serving.config import ConfigError
from serving.embedded import Vigil
from serving.models.export import save_files, save_torch_export
from serving.models.formats.loader import load
from serving.models.repository.folder import ModelRepository

X = np.arange(6, dtype=np.float32).reshape(2, 3)


class WithFeatures(torch.nn.Module):
    def forward(self, x):
        return x * 2

    def forward_with_features(self, x):
        return self.forward(x), x


def write_onnx(folder, shape=("rows", 3)):
    onnx = pytest.importorskip("onnx", reason="needs onnx, from the group dev, to write graphs")
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime, from vigil[onnx]")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [helper.make_node("Add", ["x", "x"], [name]) for name in ("y", "features")]
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    outputs = [helper.make_tensor_value_info(name, kind, shape) for name in ("y", "features")]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    save_files(folder, folder / "model.onnx")


@pytest.fixture
def make(tmp_path):
    def write(config, name="told", version="1"):
        folder = tmp_path / "models" / name
        if "onnx" in config:
            write_onnx(folder / version)
        else:
            save_torch_export(WithFeatures(), [torch.ones(2, 3)], folder / version)
        (folder / "model.yaml").write_text(config)
        return folder

    return write


def entry(folder):
    return ModelRepository(folder.parent).get(folder.name)


def tensors(specs):
    return [(spec.name, spec.datatype, spec.shape) for spec in specs]


@pytest.mark.parametrize(
    ("config", "output"), [("format: torch_export", "output"), ("format: onnx", "y")]
)
def test_the_format_alone_is_enough(make, config, output):
    found = entry(make(config))
    assert tensors(found.config.inputs) == [("x", "FP32", [-1, 3])]
    assert tensors(found.config.outputs) == [(output, "FP32", [-1, 3])]
    model = load(found, "cpu")
    prediction = model.predict_with_features({"x": X})
    np.testing.assert_array_equal(prediction.outputs[output], X * 2)
    assert prediction.features.shape == (2, 3)


@pytest.mark.e2e
def test_models_whose_yaml_has_only_a_format_are_served(make, tmp_path):
    make("format: torch_export", "exported")
    models = make("format: onnx", "graph").parent

    async def ask():
        async with Vigil(models=models, data_dir=tmp_path / "data") as vigil:
            await vigil.ready(200)
            return [await vigil.infer(name, {"x": X}) for name in ("exported", "graph")]

    exported, graph = asyncio.run(ask())
    for answer, name in ((exported, "output"), (graph, "y")):
        (output,) = answer.outputs
        assert (output.name, output.datatype) == (name, "FP32")
        np.testing.assert_array_equal(output.data, X * 2)


def test_sklearn_alone_is_enough(tmp_path):
    io = pytest.importorskip("skops.io", reason="needs skops, from vigil[sklearn]")
    x, y = load_iris(return_X_y=True)
    fitted = LogisticRegression(max_iter=1000).fit(x, y)
    folder = tmp_path / "models" / "iris"
    (folder / "1").mkdir(parents=True)
    io.dump(fitted, folder / "1" / "model.skops")
    save_files(folder / "1", folder / "1" / "model.skops")
    (folder / "model.yaml").write_text("format: sklearn")
    found = entry(folder)
    answer = load(found, "cpu").predict({"x": x[:5]})
    np.testing.assert_array_equal(answer["probabilities"], fitted.predict_proba(x[:5]))
    assert found.config.outputs[0].classes == ["0", "1", "2"]


def test_what_is_declared_is_taken_as_it_is(make):
    config = (
        "format: torch_export\n"
        "inputs: [{name: columns, datatype: FP32, shape: [-1, 3], min: 0, "
        "features: [{name: a}, {name: b}, {name: c, max: 5}]}]\n"
        "required: false\n"
    )
    found = entry(make(config)).config
    assert [feature.name for feature in found.inputs[0].features] == ["a", "b", "c"]
    assert (found.inputs[0].min, found.required) == (0, False)
    assert tensors(found.outputs) == [("output", "FP32", [-1, 3])]


def test_a_contradiction_is_found_at_load(make):
    found = entry(make("format: onnx\noutputs: [{name: y, datatype: FP32, shape: [-1, 4]}]\n"))
    with pytest.raises(ConfigError, match=r"output 'y' is FP32 \[-1, 3\], model.yaml declares"):
        load(found, "cpu")


def test_the_rest_of_the_configuration_is_held_against_what_is_told(make):
    folder = make("format: onnx\nfairness: {sensitive: [sex], favorable: good}\n")
    with pytest.raises(ConfigError, match=r"model\.yaml: .*'good' is not .* as .*model\.onnx"):
        entry(folder)


def test_fixed_rows_are_named(make):
    folder = make("format: onnx")
    write_onnx(folder / "1", (1, 3))
    with pytest.raises(ConfigError, match=r"input 'x' has a fixed number of rows, .*1"):
        entry(folder)


@pytest.mark.parametrize("artefact", [b"", b"nothing", b"\x3a" * 100])
@pytest.mark.parametrize("config", ["format: torch_export", "format: onnx"])
def test_a_damaged_artefact_is_a_sentence(make, config, artefact):
    folder = make(config)
    weights = entry(folder).weights
    weights.write_bytes(artefact)
    with pytest.raises(ConfigError, match=f"{weights}: is no"):
        entry(folder)


def test_an_artefact_elsewhere_is_not_read(make, tmp_path):
    folder = make("format: onnx")
    weights = entry(folder).weights
    weights.rename(tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="lies outside the version's folder"):
        entry(folder)
    weights.unlink()
    os.mkfifo(weights)
    with pytest.raises(ConfigError, match=r"model\.onnx: is no regular file"):
        entry(folder)


def test_each_version_tells_for_itself(make):
    folder = make("format: onnx\nversions: all\n")
    write_onnx(folder / "2", ("rows", 7))
    found = ModelRepository(folder.parent).entries(folder.name)
    assert [entry.config.inputs[0].shape for entry in found] == [[-1, 3], [-1, 7]]


@pytest.mark.parametrize("config", ["format: torch_export", "format: onnx"])
def test_where_the_newest_is_broken_an_earlier_one_tells(make, config):
    folder = make(config)
    for version in "23":
        shutil.copytree(folder / "1", folder / version)
        weights = folder / version / entry(folder).weights.name
        weights.write_bytes(b"broken")
    found = entry(folder)
    assert (found.version, tensors(found.config.inputs)) == ("3", [("x", "FP32", [-1, 3])])
    with pytest.raises(ConfigError):
        load(found, "cpu")
    repository = ModelRepository(folder.parent)
    assert [earlier.version for earlier in repository.earlier("told", "3")] == ["1"]
    (folder / "model.yaml").write_text(f"{config}\nversions: all\n")
    with pytest.raises(ConfigError, match=r"2/model.* is no"):
        repository.entries("told")


def test_nothing_heavy_is_imported(make):
    folder = make("format: torch_export")
    make("format: onnx", "graph")
    code = (
        "import sys; from pathlib import Path\n"
        "from serving.models.repository.folder import ModelRepository\n"
        "print(len(ModelRepository(Path(sys.argv[1])).entries(sys.argv[2])))\n"
        "print({'torch', 'onnx', 'onnxruntime', 'google', 'sklearn'} & set(sys.modules))\n"
    )
    run = [sys.executable, "-c", code, str(folder.parent), "graph"]
    finished = subprocess.run(run, capture_output=True, text=True, check=True)
    assert finished.stdout.split("\n")[:2] == ["1", "set()"]
