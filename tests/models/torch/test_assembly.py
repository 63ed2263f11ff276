"""What a torch model is put together of: compiled, cut into buckets, on which device."""

import numpy as np
import pytest
import torch

from serving.config import ConfigError, ModelConfig
from serving.errors import Unsupported
from serving.models.repository.folder import ModelEntry
from serving.models.torch.assembly import assemble
from serving.models.torch.model import TorchModel
from serving.models.torch.pipelined_model import PipelinedModel

COMPILED = ["default", "max-autotune"]


def entry_of(tmp_path, *inputs, **more):
    x = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
    config = {
        "format": "torch_export",
        "inputs": [x, *inputs],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
        **more,
    }
    return ModelEntry("toy", "7", tmp_path, ModelConfig.model_validate(config))


class Passes:
    """Two forward passes that note how many rows they see."""

    def __init__(self):
        self.rows, self.rows_with_features = [], []

    def run(self, x):
        self.rows.append(len(x))
        return x + 1

    def run_with_features(self, x):
        self.rows_with_features.append(len(x))
        return x + 1, x


@pytest.fixture
def passes():
    return Passes()


@pytest.fixture
def put_together(tmp_path, passes, monkeypatch):
    """Puts a model together with a compiler that only notes what it is given."""
    noted = []

    def compiler(entry, run, device, buckets):
        noted.append((entry.name, device.type, buckets))
        return run

    monkeypatch.setattr("serving.models.torch.assembly.compiled", compiler)

    def make(device="cpu", *, features=True, **more):
        with_features = passes.run_with_features if features else None
        entry = entry_of(tmp_path, **more)
        run = passes.run
        model = assemble(entry, torch.device(device), run, with_features, torch.nn.Identity)
        return model, noted

    return make


@pytest.fixture
def gpu(make_device, monkeypatch):
    """The device that stands for every GPU."""
    device = make_device()
    device.asked = []

    def ops(torch_device):
        device.asked.append(torch_device)
        return device

    monkeypatch.setattr("serving.models.torch.assembly.CudaOps", ops)
    return device


@pytest.fixture(autouse=True)
def _as_before():
    checks = torch.sparse.check_sparse_tensor_invariants
    before = checks.is_enabled()
    checks.disable()
    yield
    (checks.enable if before else checks.disable)()


def both_ways(model, rows):
    x = rows(5).numpy()
    np.testing.assert_array_equal(model.predict({"x": x})["y"], x + 1)
    found = model.predict_with_features({"x": x})
    np.testing.assert_array_equal(found.outputs["y"], x + 1)
    np.testing.assert_array_equal(found.features, x)


def test_a_cpu_computes_batches_as_they_come(put_together, passes, rows):
    model, compiled = put_together()
    assert type(model) is TorchModel
    both_ways(model, rows)
    assert passes.rows == passes.rows_with_features == [5]
    assert not compiled


@pytest.mark.parametrize("mode", COMPILED)
def test_both_passes_are_compiled_and_see_the_sizes_of_buckets_only(
    put_together, passes, rows, mode
):
    model, compiled = put_together(compile=mode, batching={"buckets": [2, 4]})
    assert type(model) is TorchModel
    assert compiled == [("toy", "cpu", (2, 4))] * 2
    both_ways(model, rows)
    assert passes.rows == passes.rows_with_features == [4, 2]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("mode", ["none", *COMPILED])
def test_without_features_there_is_one_pass(put_together, gpu, rows, mode, device):
    model, compiled = put_together(device, features=False, compile=mode)
    assert len(compiled) == (mode != "none")
    assert not model.capabilities.features
    with pytest.raises(Unsupported):
        model.predict_with_features({"x": rows(1).numpy()})


def test_graphs_of_a_gpu_are_told_to_do_nothing_on_a_cpu(put_together, passes, rows, caplog):
    model, compiled = put_together(compile="cuda-graphs", batching={"buckets": [2, 4]})
    (record,) = caplog.records
    assert record.getMessage() == "compile: cuda-graphs does nothing on a CPU"
    assert record.vigil_fields["model"] == "toy"
    assert record.vigil_fields["version"] == "7"
    both_ways(model, rows)
    assert passes.rows == passes.rows_with_features == [5]
    assert not compiled


@pytest.mark.parametrize(
    ("more", "compilations", "seen", "captured"),
    [
        ({}, 0, [5], 0),
        ({"compile": "default", "batching": {"buckets": [2, 4]}}, 2, None, 4),
        ({"compile": "max-autotune", "batching": {"buckets": [2, 4]}}, 2, None, 4),
        ({"compile": "cuda-graphs", "batching": {"buckets": [2, 4]}}, 0, None, 4),
    ],
)
def test_on_a_gpu_batches_go_through_a_pipeline(
    put_together, gpu, passes, rows, caplog, more, compilations, seen, captured
):
    model, compiled = put_together("cuda:1", **more)
    assert type(model) is PipelinedModel
    assert gpu.asked == [torch.device("cuda:1")]
    assert compiled == [("toy", "cuda", (2, 4))] * compilations
    both_ways(model, rows)
    assert gpu.captured == captured  # each of two sizes, with and without features
    assert {*passes.rows, *passes.rows_with_features} == set(seen or [4, 2])
    assert not caplog.records


def test_a_compiler_that_is_missing_is_told(tmp_path, passes, monkeypatch):
    def refuse(*_):
        raise ConfigError("no compiler")

    monkeypatch.setattr("serving.models.torch.assembly.compiled", refuse)
    entry, device = entry_of(tmp_path, compile="default"), torch.device("cpu")
    with pytest.raises(ConfigError, match="no compiler"):
        assemble(entry, device, passes.run, None, torch.nn.Identity)


def test_a_value_without_rows_has_none_in_either_pass(tmp_path):
    limit = {"name": "limit", "datatype": "FP32", "shape": [2]}
    seen = []

    def run(x, limit):
        seen.append(tuple(limit.shape))
        return x + limit[1]

    entry = entry_of(tmp_path, limit)
    device = torch.device("cpu")
    model = assemble(entry, device, run, lambda *given: (run(*given), given[0]), torch.nn.Identity)
    given = {"x": np.ones((3, 3), np.float32), "limit": np.full((3, 2), 4, np.float32)}
    assert (model.predict(given)["y"] == 5).all()
    assert (model.predict_with_features(given).outputs["y"] == 5).all()
    assert seen == [(2,), (2,)]


@pytest.mark.parametrize("is_graph", [False, True])
def test_only_a_graph_may_read_the_callers_memory(tmp_path, rows, is_graph):
    seen = []

    def run(x):
        seen.append(x.data_ptr())
        return x + 1

    entry = entry_of(tmp_path)
    device = torch.device("cpu")
    model = assemble(entry, device, run, None, torch.nn.Identity, is_graph=is_graph)
    x = rows(2).numpy()
    for _ in range(2):
        model.predict({"x": x})
    assert seen[0] != x.ctypes.data
    assert (seen[1] == x.ctypes.data) == is_graph


def test_indices_of_sparse_tensors_are_checked_from_then_on(put_together):
    checks = torch.sparse.check_sparse_tensor_invariants
    assert not checks.is_enabled()
    put_together()
    assert checks.is_enabled()


def test_the_module_is_that_of_the_caller(tmp_path, passes):
    made = torch.nn.Identity()
    model = assemble(entry_of(tmp_path), torch.device("cpu"), passes.run, None, lambda: made)
    assert model.module() is made
