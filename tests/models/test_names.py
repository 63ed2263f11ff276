"""Names in model.yaml bind to names that a torch artefact tells, in whatever order they stand.

Each network is one source, saved in every torch format, so that one rule is seen to hold.
"""

import importlib.util
import io
import json
import shutil
import warnings
import zipfile
from typing import Any

import numpy as np
import pytest
import torch

from explain.integrated_gradients import IntegratedGradients
from serving.config import Batching, ConfigError
from serving.errors import ModelFailed
from serving.models.export import save_files, save_safetensors, save_torch_export
from serving.models.formats.loader import load
from serving.models.preparation.prepare import prepare
from serving.models.repository.folder import ModelEntry, ModelRepository
from serving.models.repository.manifest import write_manifest
from serving.models.torch.pipelined_model import PipelinedModel

FORMATS = ["torch_export", "safetensors", "torchscript"]
NEEDS = {
    "torch_export": "",
    "safetensors": "factory: net:build\ntrust_code: true",
    "torchscript": "trust_code: true",
    "python": "factory: net:build\ntrust_code: true",
}
A = np.array([[10.0], [20.0], [30.0]], np.float32)
B = np.array([[1.0], [2.0], [3.0]], np.float32)
HEAD = """
import collections, dataclasses
from typing import Dict, NamedTuple, Optional
import torch
from torch import Tensor

class Pair(NamedTuple):
    start: Tensor
    end: Tensor

class Judged(NamedTuple):
    features: Tensor
    end: Tensor
    start: Tensor

@dataclasses.dataclass(kw_only=True)
class Span:
    start: Tensor
    end: Tensor

class Output(collections.OrderedDict):
    '''Like a ModelOutput of transformers: keys, and attributes of the same names.'''
    __getattr__ = collections.OrderedDict.__getitem__
"""
NET = """
class Net(torch.nn.Module):
    {method}

def build():
    return Net()
"""
MINUS = "def forward(self, a, b): return a - 2 * b"
DICT = "def forward(self, a, b): return {'start': a, 'end': b}"
RESULTS = {
    "dict": ("torch_export safetensors torchscript", DICT),
    "NamedTuple": (
        "torch_export safetensors torchscript",
        "def forward(self, a, b): return Pair(a, b)",
    ),
    "dataclass": (
        "torch_export safetensors",
        "def forward(self, a, b): return Span(start=a, end=b)",
    ),
    "ModelOutput": (
        "torch_export safetensors",
        "def forward(self, a, b): return Output(start=a, end=b)",
    ),
}


@pytest.fixture
def save(tmp_path):
    """Saves a network, given as the body of its class, with the names that model.yaml declares."""

    def make(kind, method, inputs, outputs, code: str | None = None) -> ModelEntry:
        folder = tmp_path / "models" / "net"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "1").mkdir(parents=True)
        source = tmp_path / "net.py"
        source.write_text(HEAD + NET.format(method=method))
        module = _imported(source).build()
        if kind == "torch_export":
            save_torch_export(module, [torch.ones(2, 1)] * len(inputs), folder / "1")
        elif kind == "safetensors":
            save_safetensors(module, folder / "1", source)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                torch.jit.script(module).save(folder / "1" / "model.pt")
            save_files(folder / "1", folder / "1" / "model.pt")
        return declare(folder, kind, inputs, outputs, code)

    return make


def _imported(source):
    spec = importlib.util.spec_from_file_location("vigil_test_net", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def declare(folder, kind, inputs, outputs, code=None):
    def side(names):
        return "".join(f"\n  - {{name: {n}, datatype: FP32, shape: [-1, 1]}}" for n in names)

    (folder / "model.yaml").write_text(
        f"format: {kind}\n{NEEDS[kind] if code is None else code}\n"
        f"inputs:{side(inputs)}\noutputs:{side(outputs)}\n"
    )
    return ModelRepository(folder.parent).get(folder.name)


def predict(entry, **arrays):
    return load(entry, "cpu").predict(arrays)


def same(found, **expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


# -- inputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_inputs_bind_by_the_names_of_arguments(save, kind, order):
    same(predict(save(kind, MINUS, order, ["y"]), a=A, b=B), y=A - 2 * B)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("names", [("a", "x"), ("x", "b"), ("b", "x"), ("x", "y")])
def test_names_that_forward_does_not_have_are_refused(save, kind, names):
    entry = save(kind, MINUS, names, ["y"])
    first, second = names
    with pytest.raises(ConfigError) as caught:
        load(entry, "cpu")
    assert caught.value.message == (
        f"{entry.weights}: it takes the inputs 'a', 'b', model.yaml declares '{first}', "
        f"'{second}'; give them the names that it takes"
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_a_single_input_may_have_any_name(save, kind):
    same(predict(save(kind, "def forward(self, a): return a * 2", ["x"], ["y"]), x=A), y=A * 2)


OPTIONAL = "def forward(self, a, b: Optional[Tensor] = None, c: Optional[Tensor] = None): "
OPTIONAL += "return a if c is None else a - 2 * c"


@pytest.mark.parametrize("kind", ["safetensors", "torchscript"])
@pytest.mark.parametrize("order", ["ac", "ca"])
def test_arguments_that_are_left_out_keep_their_default(save, kind, order):
    same(predict(save(kind, OPTIONAL, order, ["y"]), a=A, c=B), y=A - 2 * B)


@pytest.mark.parametrize("kind", ["safetensors", "torchscript"])
def test_an_argument_without_default_must_be_declared(save, kind):
    with pytest.raises(ConfigError, match=r"takes the inputs 'a', 'b', 'c', .* declares 'b', 'c'"):
        load(save(kind, OPTIONAL, "bc", ["y"]), "cpu")


@pytest.mark.parametrize(
    "method",
    [
        "def forward(self, a, *, b): return a - 2 * b",
        "def forward(self, a, **more): return a - 2 * more['b']",
        "def forward(self, **named): return named['a'] - 2 * named['b']",
    ],
)
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_keywords_bind_by_name(save, method, order):
    same(predict(save("safetensors", method, order, ["y"]), a=A, b=B), y=A - 2 * B)


@pytest.mark.parametrize("kind", ["torch_export", "safetensors"])
def test_without_names_the_order_counts(save, kind):
    method = "def forward(self, *inputs): return inputs[0] - 2 * inputs[1]"
    same(predict(save(kind, method, ["p", "q"], ["y"]), p=A, q=B), y=A - 2 * B)


def test_beside_further_tensors_names_of_arguments_stand_at_their_place(save):
    method = "def forward(self, a, b, *rest): return a - 2 * b + rest[0]"
    same(predict(save("safetensors", method, "abc", ["y"]), a=A, b=B, c=B), y=A - B)
    with pytest.raises(ConfigError, match=r"takes the inputs 'a', 'b', .* declares 'b', 'a', 'c'"):
        load(save("safetensors", method, "bac", ["y"]), "cpu")


def test_features_have_their_own_order_of_arguments_or_that_of_forward(save):
    swapped = """def forward(self, a, b): return a - 2 * b
    def forward_with_features(self, b, a): return a - 2 * b, b"""
    passed_on = """def forward(self, a, b): return a - 2 * b
    def forward_with_features(self, *inputs): return self.forward(*inputs), inputs[1]"""
    for method in (swapped, passed_on):
        model = load(save("safetensors", method, "ba", ["y"]), "cpu")
        found = model.predict_with_features({"a": A, "b": B})
        same(found.outputs, y=A - 2 * B)
        np.testing.assert_array_equal(found.features, B)


class Keywords(torch.nn.Module):
    def forward(self, a, flag, b, c=None):
        return {"y": a - 2 * b, "z": None}


def test_an_export_with_keywords_and_constants(tmp_path):
    rows = torch.export.Dim("rows")
    x = torch.ones(2, 1)
    program = torch.export.export(
        Keywords(),
        (x, True),
        {"c": None, "b": x.clone()},
        dynamic_shapes={"a": {0: rows}, "flag": None, "b": {0: rows}, "c": None},
    )
    folder = tmp_path / "models" / "net"
    (folder / "1").mkdir(parents=True)
    torch.export.save(program, folder / "1" / "model.pt2")
    write_manifest(folder / "1", ["model.pt2"])
    entry = declare(folder, "torch_export", "ba", ["y"])
    same(predict(entry, a=A, b=B), y=A - 2 * B)
    module = load(entry, "cpu").module()
    np.testing.assert_array_equal(module(torch.tensor(B), torch.tensor(A)).numpy(), A - 2 * B)
    (folder / "model.yaml").write_text(
        "format: torch_export\noutputs: [{name: y, datatype: FP32, shape: [-1, 1]}]"
    )
    told = ModelRepository(folder.parent).get("net")
    assert [spec.name for spec in told.config.inputs] == ["a", "b"]
    same(predict(told, a=A, b=B), y=A - 2 * B)


# -- outputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        pytest.param(kind, method, id=f"{kind}-{result}")
        for result, (kinds, method) in RESULTS.items()
        for kind in kinds.split()
    ],
)
@pytest.mark.parametrize("outputs", [["start", "end"], ["end", "start"], ["end"]])
def test_outputs_bind_by_the_names_of_results(save, kind, method, outputs):
    right = {"start": A, "end": B}
    model = load(save(kind, method, "ab", outputs), "cpu")
    same(model.predict({"a": A, "b": B}), **{name: right[name] for name in outputs})
    explained = model.module()(torch.tensor(A), torch.tensor(B))
    np.testing.assert_array_equal(explained.numpy(), right[outputs[0]])


@pytest.mark.parametrize("kind", FORMATS)
def test_a_dict_of_one(save, kind):
    method = "def forward(self, a): return {'logits': a * 2}"
    same(predict(save(kind, method, ["a"], ["logits"]), a=A), logits=A * 2)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("outputs", [["start", "stop"], ["stop"]])
def test_names_that_are_not_returned_are_refused(save, kind, outputs):
    says = r"it return\w+ 'start', 'end', model\.yaml declares .*'stop'.*give"
    with pytest.raises((ConfigError, ModelFailed), match=says):
        predict(save(kind, DICT, "ab", outputs), a=A, b=B)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_version_without_a_declared_output_does_not_serve(save, kind):
    entry = save(kind, DICT, "ab", ["start", "stop"])
    with pytest.raises((ConfigError, ModelFailed), match=r"'start', 'end', .*'stop'"):
        prepare(entry, "cpu")


@pytest.mark.parametrize(
    "body", ["raise ValueError('no zeros')", "return {'end': a[:, :0], 'start': b}"]
)
def test_what_a_row_of_zeros_does_not_show_is_left_to_clients(save, body):
    entry = save("safetensors", f"def forward(self, a, b): {body}", "ab", ["start", "end"])
    prepare(entry, "cpu")


@pytest.mark.parametrize("kind", FORMATS)
def test_the_order_of_a_tuple_counts(save, kind):
    method = "def forward(self, a, b): return a, b"
    same(predict(save(kind, method, "ab", ["p", "q"]), a=A, b=B), p=A, q=B)
    same(predict(save(kind, method, "ab", ["a", "b"]), a=A, b=B), a=A, b=B)
    with pytest.raises((ConfigError, ModelFailed), match="in another order; list them in that"):
        predict(save(kind, method, "ab", ["b", "a"]), a=A, b=B)


def test_the_names_that_vigil_gives_itself_bind_by_name(save):
    method = "def forward(self, a, b): return a, b"
    names = ["output_1", "output_0"]
    same(predict(save("torch_export", method, "ab", names), a=A, b=B), output_1=B, output_0=A)
    with pytest.raises(ConfigError, match=r"it returns 'output_0', 'output_1', .* 'output_1', 'x'"):
        load(save("torch_export", method, "ab", ["output_1", "x"]), "cpu")


FEATURED = """def forward(self, a, b): return {'start': a, 'end': b}
    def forward_with_features(self, a, b): return self.forward(a, b), a + b"""


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("torch_export", FEATURED),
        ("safetensors", FEATURED),
        ("torch_export", "def forward(self, a, b): return Judged(a + b, b, a)"),
        ("torchscript", "def forward(self, a, b): return Judged(a + b, b, a)"),
    ],
)
def test_features_come_beside_outputs_by_name(save, kind, method):
    model = load(save(kind, method, "ab", ["end", "start"]), "cpu")
    found = model.predict_with_features({"a": A, "b": B})
    same(found.outputs, end=B, start=A)
    np.testing.assert_array_equal(found.features, A + B)
    same(load(save(kind, method, "ab", ["end"]), "cpu").predict({"a": A, "b": B}), end=B)


def test_features_that_guards_cannot_use_are_an_output(save):
    method = "def forward(self, a): return {'y': a, 'features': a[:, None]}"
    entry = save("torch_export", method, ["a"], ["y"])
    assert not load(entry, "cpu").capabilities.features
    (entry.directory.parent / "model.yaml").write_text("format: torch_export")
    told = ModelRepository(entry.directory.parent.parent).get("net")
    assert [spec.name for spec in told.config.outputs] == ["y", "features"]
    same(predict(told, a=A), y=A, features=A[:, None])


def test_an_export_of_a_class_that_only_its_library_knows(save):
    entry = save("torch_export", DICT, "ab", ["end", "start"])
    content = io.BytesIO(entry.weights.read_bytes())
    with zipfile.ZipFile(content) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    (description,) = [name for name in files if name.endswith("models/model.json")]
    whole: Any = json.loads(files[description])
    call = whole["graph_module"]["module_call_graph"][0]["signature"]
    nesting = json.loads(call["out_spec"])
    nesting[1]["type"] = "transformers.modeling_outputs.QuestionAnsweringModelOutput"
    call["out_spec"] = json.dumps(nesting)
    files[description] = json.dumps(whole).encode()
    with zipfile.ZipFile(entry.weights, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    write_manifest(entry.directory, ["model.pt2"])
    for code in ("", "trust_code: true"):
        trusting = declare(entry.directory.parent, "torch_export", "ab", ["end", "start"], code)
        same(predict(trusting, a=A, b=B), end=B, start=A)
    module = load(entry, "cpu").module()
    np.testing.assert_array_equal(module(torch.tensor(A), torch.tensor(B)).numpy(), B)


# -- every way to run a model ---------------------------------------------------------------------

BOTH = "def forward(self, a, b): return {'start': a - 2 * b, 'end': b * 2, 'more': a}"
RIGHT = {"end": B * 2, "start": A - 2 * B}


def changed(entry, **update):
    example = json.dumps(
        {
            "inputs": [
                {"name": name, "shape": [1, 1], "datatype": "FP32", "data": [value]}
                for name, value in (("a", 3), ("b", 5))
            ]
        }
    )
    config = entry.config.model_copy(update=update)
    return ModelEntry(entry.name, entry.version, entry.directory, config, example.encode())


@pytest.mark.timeout(400)  # two that compile at once wait for each other
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ to compile")
@pytest.mark.parametrize("kind", ["torch_export", "safetensors"])
def test_compiled(save, kind):
    entry = save(kind, BOTH, "ba", ["end", "start"])
    compiled = changed(entry, compile="default", batching=Batching(buckets=[4]))
    same(prepare(compiled, "cpu").model.predict({"a": A, "b": B}), **RIGHT)


def test_at_half_precision(save):
    entry = changed(save("safetensors", BOTH, "ba", ["end", "start"]), precision="bf16")
    same(prepare(entry, "cpu").model.predict({"a": A, "b": B}), **RIGHT)


@pytest.mark.parametrize("kind", FORMATS)
def test_on_a_device_beside_the_host(save, kind, monkeypatch):
    class Memory:
        """A device that is done with everything at once."""

        def host_buffer(self, size):
            return torch.zeros(size, dtype=torch.uint8)

        device_buffer = host_buffer

        def upload(self, copies):
            for target, source in copies:
                target.copy_(source)

        def compute(self, after, run):
            return run(), after

        def download(self, _after, copies):
            self.upload(copies)

        def wait(self, _mark):
            pass

    entry = save(kind, BOTH, "ba", ["end", "start"])
    monkeypatch.setattr(
        "serving.models.torch.assembly.TorchModel",
        lambda entry, *runs, is_graph: PipelinedModel(entry, Memory(), *runs),
    )
    model = load(entry, "cpu")
    assert isinstance(model, PipelinedModel)
    same(model.predict({"a": A, "b": B}), **RIGHT)


@pytest.mark.parametrize("kind", FORMATS)
def test_explanations_are_of_the_first_output_and_name_the_right_input(save, kind):
    entry = save(kind, BOTH, "ba", ["start", "end"])
    module = load(entry, "cpu").module()
    found = IntegratedGradients(module, ["b", "a"], n_steps=4).explain({"a": A, "b": B})
    np.testing.assert_allclose(found.values["a"], A, rtol=1e-5)
    np.testing.assert_allclose(found.values["b"], -2 * B, rtol=1e-5)


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_the_other_list_is_read_from_the_archive_and_binds_the_same_way(save, side):
    entry = save("torch_export", BOTH, "ba", ["end", "start"])
    path = entry.directory.parent / "model.yaml"
    head, _, rest = path.read_text().partition("inputs:")
    inputs, _, outputs = rest.partition("outputs:")
    path.write_text(head + (f"inputs:{inputs}" if side == "outputs" else f"outputs:{outputs}"))
    told = ModelRepository(path.parent.parent).get("net")
    found = predict(told, a=A, b=B)
    right = {**RIGHT, "more": A} if side == "outputs" else RIGHT
    assert set(found) == set(right)
    same(found, **{name: right[name] for name in found})


def test_a_python_class_may_return_what_has_names(tmp_path):
    folder = tmp_path / "models" / "net"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "net.py").write_text(
        HEAD + "class Net:\n"
        "    def predict(self, inputs): return Pair(inputs['a'] * 1, inputs['b'] * 1)\n"
        "def build(): return Net()\n"
    )
    save_files(folder / "1", folder / "1" / "net.py")
    same(predict(declare(folder, "python", "ba", ["end", "start"]), a=A, b=B), end=B, start=A)
