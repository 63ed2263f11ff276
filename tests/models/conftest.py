import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serving.models.export import save_files, save_safetensors, save_torch_export
from serving.models.repository.folder import ModelEntry, ModelRepository
from serving.models.repository.manifest import write_folder_manifest
from serving.protocol.messages import InferRequest, Tensor

TOY_CONFIG = """
format: {format}
{code}
inputs:
  - {{name: x, datatype: FP32, shape: [-1, 3]}}
outputs:
  - {{name: y, datatype: FP32, shape: [-1, 2]}}
"""

TOY_NET = """
import torch
import yaml

class Toy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)

    def forward(self, x):
        {body}

def build():
    return Toy()
"""

MakeModel = Callable[..., ModelEntry]


@pytest.fixture
def make_factory_model(tmp_path: Path) -> MakeModel:
    """Makes a model of format safetensors out of the body of its `forward(self, x)`."""

    def make(
        body: str = "return self.linear(x)", config: str = "", name: str = "toy"
    ) -> ModelEntry:
        source = tmp_path / f"{name}-source" / "net.py"
        source.parent.mkdir()
        source.write_text(TOY_NET.format(body=body))
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        default = TOY_CONFIG.format(
            format="safetensors", code="factory: net:build\ntrust_code: true"
        )
        (folder / "model.yaml").write_text(config or default)
        torch.manual_seed(0)
        network = torch.nn.Module()
        network.linear = torch.nn.Linear(3, 2)
        save_safetensors(network, folder / "1", source)
        return ModelRepository(tmp_path / "models").get(name)

    return make


@pytest.fixture
def make_exported_model(tmp_path: Path) -> MakeModel:
    """Makes a model of format torch_export out of a module of one input `x` [-1, 3]."""

    def make(module: torch.nn.Module, config: str = "", name: str = "exported") -> ModelEntry:
        folder = tmp_path / "models" / name
        save_torch_export(module, [torch.ones(2, 3)], folder / "1")
        default = TOY_CONFIG.format(format="torch_export", code="")
        (folder / "model.yaml").write_text(config or default)
        return ModelRepository(tmp_path / "models").get(name)

    return make


PERCEPTRON_CONFIG = """
format: {format}
{code}
inputs:
  - {{name: x, datatype: FP32, shape: [-1, 30]}}
outputs:
  - {{name: probabilities, datatype: FP32, shape: [-1, 2]}}
"""

PERCEPTRON = """
import numpy as np
from pathlib import Path

class Perceptron:
    def __init__(self):
        weights = np.load(Path(__file__).parent / "weights.npz")
        self.first, self.second = weights["first"], weights["second"]

    def predict_with_features(self, inputs):
        hidden = np.tanh(inputs["x"].astype(np.float64) @ self.first)
        scores = np.exp(hidden @ self.second)
        probabilities = scores / scores.sum(axis=1, keepdims=True)
        return {"probabilities": probabilities.astype(np.float32), "features": hidden}

    def predict(self, inputs):
        return {"probabilities": self.predict_with_features(inputs)["probabilities"]}
"""


class Perceptron(torch.nn.Module):
    """In float64, so that a row comes out the same in every batch."""

    def __init__(self, first: np.ndarray, second: np.ndarray) -> None:
        super().__init__()
        self.first = torch.nn.Parameter(torch.from_numpy(first))
        self.second = torch.nn.Parameter(torch.from_numpy(second))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.tanh(x.double() @ self.first)
        return torch.softmax(hidden @ self.second, 1).float(), hidden.float()


def write_torchscript(folder: Path, first: np.ndarray, second: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Perceptron(first, second)).save(folder / "model.pt")


def write_onnx(folder: Path, first: np.ndarray, second: np.ndarray) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx, from the group dev, to write graphs")
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime, from vigil[onnx]")
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=kinds.DOUBLE),
        helper.make_node("MatMul", ["wide", "first"], ["scaled"]),
        helper.make_node("Tanh", ["scaled"], ["features"]),
        helper.make_node("MatMul", ["features", "second"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=1),
        helper.make_node("Cast", ["shares"], ["probabilities"], to=kinds.FLOAT),
    ]
    value = helper.make_tensor_value_info
    outputs = [
        value("probabilities", kinds.FLOAT, ["rows", 2]),
        value("features", kinds.DOUBLE, ["rows", 8]),
    ]
    constants = {"first": first, "second": second}
    weights = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    inputs = [value("x", kinds.FLOAT, ["rows", 30])]
    graph = helper.make_graph(nodes, "perceptron", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")


def write_sklearn(folder: Path, first: np.ndarray, second: np.ndarray) -> None:
    io = pytest.importorskip("skops.io", reason="needs skops, from vigil[sklearn]")
    rows = np.random.default_rng(1).normal(50, 30, (200, 30))
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, rows[:, 0] > 50)
    io.dump(fitted, folder / "model.skops")


def write_python(folder: Path, first: np.ndarray, second: np.ndarray) -> None:
    (folder / "net.py").write_text(PERCEPTRON)
    np.savez(folder / "weights.npz", first=first, second=second)


WRITERS = {
    "torchscript": (write_torchscript, "trust_code: true"),
    "onnx": (write_onnx, ""),
    "sklearn": (write_sklearn, ""),
    "python": (write_python, "trust_code: true\nfactory: net:Perceptron"),
}


def _elsewhere(server: Any, first: np.ndarray, second: np.ndarray) -> str:
    """Let another server compute the perceptron; returns what model.yaml says of it."""

    def compute(request: InferRequest) -> list[Tensor]:
        with torch.inference_mode():
            y = Perceptron(first, second)(torch.tensor(request.inputs[0].data))[0].numpy()
        return [Tensor("probabilities", "FP32", y.shape, y)]

    server.compute = compute
    server.poison = None
    return f"remote: {{url: 'grpc://{server.address}'}}\nbatching: {{max_batch_size: 100}}"


@pytest.fixture(scope="session")
def make_format(
    tmp_path_factory: pytest.TempPathFactory, make_upstream: Callable[[], Any]
) -> Callable[[str], ModelEntry]:
    """Makes a model of a format that the demo does not use: 30 numbers in, two classes out."""

    def make(name: str) -> ModelEntry:
        root = tmp_path_factory.mktemp("formats")
        random = np.random.default_rng(0)
        first, second = random.normal(size=(30, 8)) / 200, random.normal(size=(8, 2))
        if name == "remote":
            (root / name).mkdir()
            where = _elsewhere(make_upstream(), first, second)
            config = PERCEPTRON_CONFIG.format(format=name, code=where)
            (root / name / "model.yaml").write_text(config)
            return ModelRepository(root).get(name)
        folder = root / name / "1"
        folder.mkdir(parents=True)
        write, code = WRITERS[name]
        write(folder, first, second)
        save_files(folder, *folder.iterdir())
        (folder.parent / "model.yaml").write_text(PERCEPTRON_CONFIG.format(format=name, code=code))
        return ModelRepository(root).get(name)

    return make


@pytest.fixture
def make_sklearn(tmp_path: Path) -> Callable[..., ModelEntry]:
    """Makes a model of format sklearn, trusted, out of a fitted estimator."""
    io = pytest.importorskip("skops.io", reason="needs skops, from vigil[sklearn]")

    def make(
        estimator: Any, inputs: list[Any], outputs: list[Any], name: str = "fitted"
    ) -> ModelEntry:
        folder = tmp_path / "models" / name / "1"
        folder.mkdir(parents=True)
        config = {"format": "sklearn", "trust_code": True, "inputs": inputs, "outputs": outputs}
        (folder.parent / "model.yaml").write_text(yaml.safe_dump(config))
        io.dump(estimator, folder / "model.skops")
        write_folder_manifest(folder)
        return ModelRepository(tmp_path / "models").get(name)

    return make
