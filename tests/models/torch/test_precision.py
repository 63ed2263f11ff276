import json

import numpy as np
import pytest
import torch
import yaml

from serving.config import ConfigError, ModelConfig
from serving.models.export import save_safetensors
from serving.models.formats.loader import load
from serving.models.preparation.prepare import prepare
from serving.models.repository.folder import ModelEntry, ModelRepository
from serving.models.torch.precision import runs_at_precision

NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(6, 32, batch_first=True)
        self.head = torch.nn.Linear(32, 3)

    def forward(self, x, weight):
        return self.forward_with_features(x, weight)[0]

    def forward_with_features(self, x, weight):
        features = self.lstm(x)[0][:, -1]
        scores = torch.softmax(self.head(features), 1) * weight
        return (scores, scores.argmax(1)), features

def build():
    return Net()
"""
CONFIG = {
    "format": "safetensors",
    "factory": "net:build",
    "trust_code": True,
    "inputs": [
        {"name": "x", "datatype": "FP32", "shape": [-1, 5, 6]},
        {"name": "weight", "datatype": "INT64", "shape": [-1, 1]},
    ],
    "outputs": [
        {"name": "y", "datatype": "FP32", "shape": [-1, 3]},
        {"name": "best", "datatype": "INT64", "shape": [-1]},
    ],
    "example": "example.json",
}
X = np.random.default_rng(3).normal(size=(4, 5, 6)).astype(np.float32)
INPUTS = {"x": X, "weight": np.ones((4, 1), np.int64)}


@pytest.fixture
def lstm(tmp_path):
    source = tmp_path / "net.py"
    source.write_text(NET)
    names: dict[str, object] = {}
    exec(NET, names)
    torch.manual_seed(1)
    folder = tmp_path / "models" / "lstm"
    save_safetensors(names["build"](), folder / "1", source)
    tensors = [
        {"name": "x", "shape": [4, 5, 6], "datatype": "FP32", "data": X.ravel().tolist()},
        {"name": "weight", "shape": [4, 1], "datatype": "INT64", "data": [1] * 4},
    ]
    (folder / "example.json").write_text(json.dumps({"inputs": tensors}))

    def make(**more) -> ModelEntry:
        (folder / "model.yaml").write_text(yaml.safe_dump({**CONFIG, **more}))
        return ModelRepository(folder.parent).get("lstm")

    return make


@pytest.mark.parametrize("precision", ["bf16", "fp16", "int8-dynamic"])
def test_converted_models_answer_in_the_declared_datatypes(lstm, precision):
    plain = load(lstm(), "cpu").predict_with_features(INPUTS)
    prepared = prepare(lstm(precision=precision), "cpu")
    assert prepared.measured.startswith(f"with precision {precision} output '")
    found = prepared.model.predict_with_features(INPUTS)
    assert found.outputs["y"].dtype == np.float32
    assert found.outputs["best"].dtype == np.int64
    assert found.features.dtype == np.float32
    scale = np.abs(plain.outputs["y"]).max()
    assert 0 < np.abs(found.outputs["y"] - plain.outputs["y"]).max() / scale < 0.02
    np.testing.assert_array_equal(prepared.model.predict(INPUTS)["y"], found.outputs["y"])


def test_over_its_tolerance_a_model_does_not_load(lstm):
    with pytest.raises(
        ConfigError, match=r"deviates by .* 1e-09 allowed; raise precision_toleranc"
    ):
        prepare(lstm(precision="int8-dynamic", precision_tolerance=1e-9), "cpu")


def test_without_an_example_nothing_can_be_measured(lstm):
    with pytest.raises(ConfigError, match="precision bf16 changes must be measured; name a file"):
        prepare(lstm(precision="bf16", example=None), "cpu")


def test_what_is_explained_is_the_model_as_it_was_made(make_factory_model):
    made = make_factory_model()
    config = made.config.model_copy(update={"precision": "bf16"})
    entry = ModelEntry(made.name, made.version, made.directory, config)
    module = load(entry, "cpu").module()
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}


def test_int8_needs_something_to_convert(make_factory_model):
    made = make_factory_model()
    config = made.config.model_copy(update={"precision": "int8-dynamic"})
    entry = ModelEntry(made.name, made.version, made.directory, config)
    with pytest.raises(ConfigError, match="converts Linear and LSTM inside the module, and there"):
        runs_at_precision(entry, torch.nn.ReLU(), torch.device("cpu"))
    with pytest.raises(ConfigError, match="computes on a CPU only"):
        runs_at_precision(entry, torch.nn.ReLU(), torch.device("cuda"))


@pytest.mark.parametrize("format_", ["torch_export", "torchscript", "onnx", "sklearn"])
def test_formats_with_datatypes_of_their_own_are_refused(format_):
    with pytest.raises(
        ValueError, match=f"format {format_} computes in the datatypes of its graph"
    ):
        ModelConfig.model_validate(
            {
                "format": format_,
                "trust_code": True,
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
                "precision": "bf16",
            }
        )


def test_int8_on_a_gpu_is_refused():
    with pytest.raises(ValueError, match="int8-dynamic computes on a CPU only"):
        ModelConfig.model_validate(
            {**CONFIG, "precision": "int8-dynamic", "replicas": {"device": "cuda"}}
        )
