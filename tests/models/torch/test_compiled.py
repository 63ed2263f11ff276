"""What `compile` does on a CPU. Compiling takes seconds, so few tests do it, on one small model."""

import shutil

import numpy as np
import pytest
import torch

from serving.config import Batching, ConfigError, ModelConfig
from serving.models.formats.loader import load
from serving.models.preparation.prepare import prepare
from serving.models.repository.folder import ModelEntry
from serving.models.torch.compiled import compiled

EXAMPLE = b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, -2, 3]}]}'
TWO = "return torch.softmax(self.linear(x), 1)"

# Two that compile at once, in other workers, wait for each other.
pytestmark = pytest.mark.timeout(400)
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ to compile")


@pytest.fixture
def as_compiled():
    def make(entry, buckets=None, mode="default", **more):
        batching = Batching(buckets=buckets)
        update = {"compile": mode, "batching": batching, **more}
        config = entry.config.model_copy(update=update)
        return ModelEntry(entry.name, entry.version, entry.directory, config, EXAMPLE)

    return make


@needs_compiler
def test_every_number_of_rows_is_answered_as_uncompiled(make_factory_model, as_compiled):
    entry = make_factory_model(TWO)
    plain = load(entry, "cpu")
    prepared = prepare(as_compiled(entry, [2]), "cpu")
    assert prepared.measured.startswith("with compile default output 'y' deviates by ")
    for rows in (0, 1, 2, 3, 4, 5, 9):
        x = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
        found = prepared.model.predict({"x": x})["y"]
        np.testing.assert_allclose(found, plain.predict({"x": x})["y"], atol=1e-6)


@needs_compiler
def test_after_the_warm_up_nothing_is_compiled_any_more(make_exported_model, as_compiled):
    entry = make_exported_model(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh()))
    model = prepare(as_compiled(entry, [1, 2]), "cpu").model
    with torch.compiler.set_stance("fail_on_recompile"):
        for rows in (1, 2, 5):
            x = np.ones((rows, 3), np.float32)
            assert model.predict({"x": x})["y"].shape == (rows, 2)


def test_missing_compiler_is_named(make_factory_model, as_compiled, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError) as caught:
        load(as_compiled(make_factory_model()), "cpu")
    assert caught.value.message == (
        "model 'toy': compile: default needs a C++ compiler, and 'no-such-compiler' is not "
        "installed; install g++, name another one in the environment variable CXX, or set "
        "`compile: none`"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without triton")
def test_on_a_gpu_triton_is_needed(make_factory_model, as_compiled):
    with pytest.raises(ConfigError, match="compile: default needs the package triton on a GPU"):
        compiled(as_compiled(make_factory_model()), torch.relu, torch.device("cuda"), [1])


def test_graphs_of_a_gpu_change_nothing_on_a_cpu(make_factory_model, as_compiled, caplog):
    entry = make_factory_model(TWO)
    model = load(as_compiled(entry, mode="cuda-graphs"), "cpu")
    assert "cuda-graphs does nothing on a CPU" in caplog.text
    x = np.ones((3, 3), np.float32)
    np.testing.assert_array_equal(
        model.predict({"x": x})["y"], load(entry, "cpu").predict({"x": x})["y"]
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"format": "onnx"}, "format onnx cannot be compiled; only safetensors, torch_export can"),
        ({"compile": "none", "batching": {"buckets": [2]}}, "buckets: has no use without"),
        ({"batching": {"buckets": [4, 2]}}, "must be positive and increasing"),
        ({"batching": {"buckets": [0]}}, "must be positive and increasing"),
        ({"compile": "cuda-graphs", "replicas": {"device": "cpu"}}, "cuda-graphs needs a GPU"),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, -1]}]}, "has a free axis"),
    ],
)
def test_settings_that_make_no_sense_together(more, says):
    base = {
        "format": "torch_export",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        "compile": "default",
    }
    with pytest.raises(ValueError, match=says):
        ModelConfig.model_validate({**base, **more})
