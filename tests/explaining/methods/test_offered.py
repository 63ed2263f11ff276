"""A new explanation method is one new file and one entry in the list."""

import asyncio
import importlib
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from serving.channel.endpoint import connect
from serving.channel.messages.directory import Directory, Member, ServedModel
from serving.channel.messages.explanation import EXPLAIN, ExplainMeta, ExplainReply
from serving.config import ConfigError, ModelConfig, parse
from serving.config.explainers import listed
from serving.control.served_model import served_model
from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.errors import InvalidInput, Unsupported
from serving.explaining.methods.offered import explainers
from serving.explaining.role import ExplainerRole
from serving.gateway.extensions.explanations import explain_request
from serving.models.contract import Capabilities
from serving.models.export import save_files
from serving.models.repository.folder import ModelRepository
from serving.protocol.messages import InferRequest, Tensor

CODE = """
import numpy as np

class Linear:
    def predict(self, inputs):
        return {"p": inputs["x"] @ np.array([[1, 2], [3, 4], [5, 6]], np.float32)}

def build():
    return Linear()
"""
YAML = """
format: python
factory: linear:build
trust_code: true
inputs: [{name: x, datatype: FP32, shape: [-1, 3]}]
outputs: [{name: p, datatype: FP32, shape: [-1, 2]}]
"""
X = np.array([[1, 0, 2], [0, 1, 1]], np.float32)
WEIGHTS = np.array([[1, 2], [3, 4], [5, 6]])


@pytest.fixture
def toy(monkeypatch):
    """The module of a toy method, which is listed."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "testdata")
    module = importlib.import_module("toy_explainer")
    monkeypatch.setattr(listed, "EXPLAINERS", (*listed.EXPLAINERS, module.DESCRIPTOR))
    yield module
    sys.modules.pop("toy_explainer", None)


@pytest.fixture
def linear(tmp_path) -> ServedModel:
    """A model without gradients."""
    (tmp_path / "linear.py").write_text(CODE)
    folder = tmp_path / "models" / "linear"
    save_files(folder / "1", tmp_path / "linear.py")
    (folder / "model.yaml").write_text(YAML)
    return served_model(ModelRepository(folder.parent).get("linear"))


class Fake:
    """A model that predicts nothing and, if it is differentiable, has a module."""

    def __init__(self, *, differentiable: bool) -> None:
        self.capabilities = Capabilities(module=differentiable, differentiable=differentiable)

    def module(self):
        assert self.capabilities.module
        return torch.nn.Linear(3, 2)


def config_of(**more) -> ModelConfig:
    x = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
    raw = {"format": "torch_export", "inputs": [x], "outputs": [x], **more}
    return parse(ModelConfig, raw, "m")


def test_a_model_without_gradients_allows_what_needs_only_predictions():
    assert list(explainers(config_of(), Fake(differentiable=True))) == [
        "integrated_gradients",
        "kernel_shap",
    ]
    assert list(explainers(config_of(), Fake(differentiable=False))) == ["kernel_shap"]
    assert explainers(config_of(explain=None), Fake(differentiable=True)) == {}


def test_the_configuration_goes_by_the_list(toy):
    explain = config_of(explain={"method": "toy"}).explain
    assert explain is not None
    assert explain.method == "toy"
    with pytest.raises(ConfigError, match=r"explain\.method: Input .*'auto', .* or 'toy'$"):
        config_of(explain={"method": "ball"})
    assert list(explainers(config_of(), Fake(differentiable=False))) == ["kernel_shap", "toy"]


def test_it_is_no_method_before_it_is_listed():
    with pytest.raises(ConfigError, match=r"explain\.method: .* or 'kernel_shap'$"):
        config_of(explain={"method": "toy"})


async def test_an_explainer_answers_with_it(toy, linear, registry, address, tmp_path):
    at = f"unix:{tmp_path}/e.sock"
    role = ExplainerRole(linear, "explainer-linear-1", at, address)
    role.load()
    await role.start()
    connection = await connect(at)

    async def ask(**meta):
        message = await connection.request(
            EXPLAIN, ExplainMeta(**meta), [Tensor("x", "FP32", X.shape, X)]
        )
        arrays = {tensor.name: tensor.data for tensor in message.tensors}
        return msgspec.msgpack.decode(message.meta, type=ExplainReply), arrays["attribution:x"]

    try:
        reply, found = await ask(method="toy", target=1)
        assert (reply.method, reply.target) == ("toy", (1, 1))
        np.testing.assert_array_equal(found, X * WEIGHTS[:, 1])
        _, found = await ask(method="toy", target=0, effort={"n_columns": 1})
        np.testing.assert_array_equal(found, X * WEIGHTS[:, 0] * [1, 0, 0])
        reply, _ = await ask()
        assert reply.method == "kernel_shap"
        for meta, says in (
            ({"effort": {"n_columns": 9}}, "n_columns must be 1 to 8"),
            ({"effort": {"n_steps": 9}}, "method toy takes no n_steps; it takes n_columns"),
        ):
            with pytest.raises(InvalidInput, match=says):
                await ask(method="toy", **meta)
        with pytest.raises(Unsupported, match="use method kernel_shap or toy"):
            await ask(method="integrated_gradients")
    finally:
        connection.close()
        await role.stop()


async def test_a_gateway_passes_on_what_it_takes(toy, linear, registry, address, tmp_path):
    at = f"unix:{tmp_path}/e.sock"
    role = ExplainerRole(linear, "explainer-linear-1", at, address)
    role.load()
    await role.start()
    plane = DataPlane("g")
    member = Member("explainer", "e-0", 1, at, "linear", "1", revision=linear.revision)
    plane.apply(Directory(1, (linear,), (member,)))

    async def ask(**parameters):
        tensors = (Tensor("x", "FP32", X.shape, X),)
        request = InferRequest("linear", "", "id", tensors, parameters=parameters)
        async with asyncio.timeout(60):
            return await explain_request(plane, request, RequestContext())

    try:
        answer = await ask(method="toy", target=1, n_columns=1, n_steps=None)
        assert answer.parameters == {
            "method": "toy", "baseline": "zeros", "n_columns": 1, "target": "1,1",
        }  # fmt: skip
        arrays = {tensor.name: tensor.data for tensor in answer.outputs}
        np.testing.assert_array_equal(arrays["attribution:x"], X * WEIGHTS[:, 1] * [1, 0, 0])
        with pytest.raises(InvalidInput, match="parameter n_columns must be a whole number"):
            await ask(method="toy", n_columns="many")
        with pytest.raises(InvalidInput, match="kernel_shap takes no n_columns"):
            await ask(n_columns=1)
    finally:
        plane.close()
        await role.stop()


EXPLAINED = """
import sys
import numpy as np, torch
import serving.explaining.role
from serving.config import ModelConfig
from serving.explaining.methods.offered import explainers
from serving.gateway.extensions.explanations import explain_request
from serving.models.contract import Capabilities

class Fake:
    def __init__(self, differentiable):
        self.capabilities = Capabilities(module=differentiable, differentiable=differentiable)
    def module(self):
        return torch.nn.Linear(3, 2)
    def predict(self, inputs):
        return {"y": inputs["x"] * 2}

x = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
raw = {"format": "torch_export", "inputs": [x], "outputs": [{**x, "name": "y"}]}
config = ModelConfig.model_validate(raw)
for each in explainers(config, Fake(sys.argv[1] == "True")).values():
    each.explain({"x": np.ones((2, 3), np.float32)}, [0, 0])
print(*(name for name in sys.modules))
"""


@pytest.mark.parametrize("differentiable", [True, False])
def test_an_explainer_imports_what_its_models_methods_need(differentiable):
    """Only gradients need captum, and nothing needs numba."""
    finished = subprocess.run(
        [sys.executable, "-c", EXPLAINED, str(differentiable)],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(finished.stdout.split())
    assert loaded & {"numba", "llvmlite", "shap"} == set()
    for name in ("captum", "explain.integrated_gradients"):
        assert (name in loaded) is differentiable
