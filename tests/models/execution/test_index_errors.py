"""Whose fault it is when a model raises: its own, or that of an index which a client sent."""

import shutil
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from serving.config import Batching
from serving.errors import InvalidInput, ModelFailed
from serving.models.execution.index_errors import told_index_error
from serving.models.export import save_files, save_safetensors, save_torch_export
from serving.models.formats.loader import load
from serving.models.repository.folder import ModelEntry, ModelRepository
from serving.models.repository.manifest import write_manifest

SIZE = 5
CALLS = {
    "embedding": lambda i: functional.embedding(i, torch.ones(SIZE, 2)),
    "embedding_bag": lambda i: functional.embedding_bag(i, torch.ones(SIZE, 2)),
    "gather": lambda i: torch.gather(torch.ones(2, SIZE), 1, i),
    "index": lambda i: torch.ones(SIZE)[i],
    "index_select": lambda i: torch.index_select(torch.ones(2, SIZE), 1, i[0]),
    "index_add": lambda i: torch.zeros(SIZE).index_add(0, i[0], torch.ones(1)),
    "index_copy": lambda i: torch.zeros(SIZE).index_copy(0, i[0], torch.ones(1)),
    "index_fill": lambda i: torch.zeros(SIZE).index_fill(0, i[0], 1.0),
    "one_hot": lambda i: functional.one_hot(i, SIZE),
    "put": lambda i: torch.zeros(SIZE).put(i[0], torch.ones(1)),
    "scatter": lambda i: torch.zeros(1, SIZE).scatter(1, i, 1.0),
    "select": lambda i: torch.select(torch.ones(SIZE), 0, i.item()),
    "sparse": lambda i: torch.sparse_coo_tensor(i, torch.ones(1), (SIZE,), check_invariants=True),
    "take": lambda i: torch.take(torch.ones(SIZE), i),
    "target": lambda i: functional.nll_loss(torch.zeros(1, SIZE), i[0]),
    "unpool": lambda i: functional.max_unpool2d(torch.ones(1, 1, 1, 1), i.view(1, 1, 1, 1), 2),
}


@pytest.mark.parametrize("index", [SIZE + 4, -SIZE - 4])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_index_out_of_range_is_recognised(call, index):
    with pytest.raises((IndexError, RuntimeError)) as caught:
        call(torch.tensor([[index]]))
    assert told_index_error(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: torch.ones(2, 3) @ torch.ones(2, 3),
        lambda: torch.ones(2, 3).view(4),
        lambda: torch.ones(2).long() / "x",
        lambda: torch.linalg.cholesky(-torch.ones(2, 2)),
        lambda: functional.embedding(torch.ones(2), torch.ones(3, 3)),
    ],
)
def test_other_errors_are_not(call):
    with pytest.raises((RuntimeError, TypeError)) as caught:
        call()
    assert told_index_error(caught.value) is None


CONFIG = """
format: {kind}
{code}
inputs: [{{name: ids, datatype: INT64, shape: [-1, 2]}}]
outputs: [{{name: y, datatype: FP32, shape: [-1, 2, 3]}}]
"""
NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(5, 3)

    def forward(self, ids):
        return self.table(ids)

def build():
    return Net()
"""
CODE = {
    "torch_export": "",
    "safetensors": "factory: net:build\ntrust_code: true",
    "torchscript": "trust_code: true",
    "onnx": "",
}
GOOD = np.array([[0, 4], [3, 2]])


@pytest.fixture
def make(tmp_path):
    def build(kind, **changes) -> ModelEntry:
        folder = tmp_path / "models" / "lm"
        (folder / "1").mkdir(parents=True)
        source = tmp_path / "net.py"
        source.write_text(NET)
        scope: dict = {}
        exec(NET, scope)
        net = scope["Net"]()
        if kind == "torch_export":
            save_torch_export(net, [torch.zeros(2, 2, dtype=torch.int64)], folder / "1")
        elif kind == "safetensors":
            save_safetensors(net, folder / "1", source)
        elif kind == "torchscript":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                torch.jit.trace(net, torch.zeros(2, 2, dtype=torch.int64)).save(
                    folder / "1" / "model.pt"
                )
            write_manifest(folder / "1", ["model.pt"])
        else:
            write_gather(folder / "1", net.table.weight.detach().numpy())
        (folder / "model.yaml").write_text(CONFIG.format(kind=kind, code=CODE[kind]))
        entry = ModelRepository(tmp_path / "models").get("lm")
        config = entry.config.model_copy(update=changes)
        return ModelEntry(entry.name, entry.version, entry.directory, config)

    return build


def write_gather(folder, table):
    onnx = pytest.importorskip("onnx", reason="needs onnx, from the group dev, to write graphs")
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime, from vigil[onnx]")
    helper, kinds = onnx.helper, onnx.TensorProto
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["y"])],
        "lm",
        [value("ids", kinds.INT64, ["rows", 2])],
        [value("y", kinds.FLOAT, ["rows", 2, 3])],
        [onnx.numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    save_files(folder, folder / "model.onnx")


@pytest.mark.parametrize("kind", CODE)
@pytest.mark.parametrize("index", [5, -1000])
def test_a_request_with_an_index_out_of_range_is_refused(make, kind, index):
    model = load(make(kind), "cpu")
    with pytest.raises(InvalidInput) as caught:
        model.predict({"ids": np.array([[0, 1], [index, 2]])})
    assert caught.value.message.startswith(
        "model 'lm': input 'ids' holds an index that is out of range ("
    )
    assert caught.value.message.endswith("; send values that the model knows")
    assert model.predict({"ids": GOOD})["y"].shape == (2, 2, 3)


@pytest.mark.timeout(400)  # two that compile at once wait for each other
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ to compile")
def test_compiled_code_has_words_of_its_own(make):
    model = load(make("safetensors", compile="default", batching=Batching(buckets=[2])), "cpu")
    assert model.predict({"ids": GOOD})["y"].shape == (2, 2, 3)
    with pytest.raises(InvalidInput, match="out of bounds"):
        model.predict({"ids": np.array([[0, 1], [5, 2]])})


FACTORY = """
format: safetensors
factory: net:build
trust_code: true
inputs: [{name: x, datatype: FP32, shape: [-1, 3]}]
outputs: [{name: y, datatype: FP32, shape: [-1, 2]}]
"""


@pytest.mark.parametrize(
    "body",
    [
        "return self.linear(x)[:, 2]",
        "return self.linear(x)[torch.tensor([99])]",
        "raise IndexError('list index out of range')",
    ],
)
def test_a_model_that_fails_whatever_it_is_given_is_at_fault(make_factory_model, body):
    model = load(make_factory_model(body, FACTORY), "cpu")
    x = np.ones((2, 3), np.float32)
    for _ in range(2):
        with pytest.raises(ModelFailed, match="model 'toy' failed: IndexError: "):
            model.predict({"x": x})


def test_a_model_that_fails_on_that_many_rows_is_at_fault(make_factory_model):
    body = "return self.linear(x) + torch.zeros(2, 2)[torch.arange(x.shape[0])]"
    model = load(make_factory_model(body, FACTORY), "cpu")
    assert model.predict({"x": np.ones((2, 3), np.float32)})["y"].shape == (2, 2)
    with pytest.raises(ModelFailed, match="model 'toy' failed: IndexError: "):
        model.predict({"x": np.ones((3, 3), np.float32)})


PICKS = "return self.linear(x) + torch.zeros(2, 2)[x[:, 0].long()]"


def test_explanations_tell_apart_as_well(make_factory_model):
    x = torch.tensor([[1.0, 2, 3], [7, 2, 3]])
    module = load(make_factory_model(PICKS, FACTORY, name="picks"), "cpu").module()
    assert module(x[:1]).shape == (1, 2)
    with pytest.raises(InvalidInput, match="model 'picks': input 'x' holds an index"):
        module(x)
    broken = "raise ValueError('no such thing')"
    module = load(make_factory_model(broken, FACTORY, name="broken"), "cpu").module()
    with pytest.raises(ModelFailed, match="model 'broken' failed: ValueError: no such thing"):
        module(x)


REFUSES = "from serving.errors import InvalidInput\n        "
REFUSES += "if bool((x > 9).any()): raise InvalidInput('x must be at most 9')\n        "
REFUSES += "return self.linear(x)"


def test_a_module_may_refuse_what_it_is_given(make_factory_model):
    model = load(make_factory_model(REFUSES, FACTORY), "cpu")
    assert model.predict({"x": np.ones((1, 3), np.float32)})["y"].shape == (1, 2)
    for run in (lambda x: model.predict({"x": x.numpy()}), model.module()):
        with pytest.raises(InvalidInput) as caught:
            run(torch.full((1, 3), 10.0))
        assert caught.value.message == "x must be at most 9"
