import json
import zipfile

import pytest
import torch

from serving.config import ConfigError
from serving.models.export import save_torch_export
from serving.models.formats.torch_export.signature import read_export_names, read_export_signature
from serving.models.signature import Tensor

NAME = "archive/models/model.json"


class Two(torch.nn.Module):
    def forward(self, left, right):
        return left * 2, right


class Named(torch.nn.Module):
    def forward(self, x):
        return {"score": x * 2, "label": x[:, 0] > 0}


class NamedFeatures(torch.nn.Module):
    def forward(self, x):
        return {"score": x * 2, "features": x}


class WithFeatures(Two):
    def forward_with_features(self, left, right):
        return self.forward(left, right), left


class Open(torch.nn.Module):
    def forward_with_features(self, *inputs):
        return inputs[0] * 2, inputs[0]


class Listed(torch.nn.Module):
    def forward(self, parts):
        return parts[0] + parts[1]


X = torch.ones(2, 3)
BOTH = [X, torch.ones(2, dtype=torch.int64)]


@pytest.fixture
def read(tmp_path):
    def export(module, inputs=(X,)):
        save_torch_export(module, list(inputs), tmp_path / "1")
        return read_export_signature(tmp_path / "1" / "model.pt2")

    return export


@pytest.fixture
def described(tmp_path):
    """Reads a real archive's description after a change."""

    def change(alter):
        save_torch_export(Two(), BOTH, tmp_path / "1")
        path = tmp_path / "1" / "model.pt2"
        with zipfile.ZipFile(path) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith("models/model.json")]
            text = archive.read(name)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(NAME, alter(text))
        change.path = path
        return read_export_signature(path)

    return change


def test_arguments_name_inputs_and_position_names_outputs(read):
    found = read(Two(), BOTH)
    assert found.inputs == [
        Tensor("left", "FP32", [None, 3]), Tensor("right", "INT64", [None])
    ]  # fmt: skip
    assert [tensor.name for tensor in found.outputs] == ["output_0", "output_1"]
    assert [tensor.datatype for tensor in found.outputs] == ["FP32", "INT64"]


def test_a_single_result_is_the_output(read):
    found = read(torch.nn.Linear(3, 2))
    assert found.inputs == [Tensor("input", "FP32", [None, 3])]
    assert found.outputs == [Tensor("output", "FP32", [None, 2])]


def test_keys_name_outputs(read):
    assert read(Named()).outputs == [
        Tensor("score", "FP32", [None, 3]), Tensor("label", "BOOL", [None])
    ]  # fmt: skip


def test_features_are_no_output(read):
    assert [tensor.name for tensor in read(NamedFeatures()).outputs] == ["score"]


def test_features_of_the_method_are_no_output_and_its_arguments_name_inputs(read):
    found = read(WithFeatures(), BOTH)
    assert [tensor.name for tensor in found.inputs] == ["left", "right"]
    assert [tensor.name for tensor in found.outputs] == ["output_0", "output_1"]
    assert [tensor.name for tensor in read(Open()).outputs] == ["output"]


def test_an_argument_of_several_tensors_has_the_graphs_names(tmp_path):
    rows = torch.export.Dim("rows")
    program = torch.export.export(Listed(), ([X, X],), dynamic_shapes=([{0: rows}, {0: rows}],))
    torch.export.save(program, tmp_path / "model.pt2")
    found = read_export_signature(tmp_path / "model.pt2")
    assert [tensor.name for tensor in found.inputs] == ["parts_0", "parts_1"]


@pytest.mark.parametrize(
    ("dtype", "datatype"),
    [
        (torch.bool, "BOOL"), (torch.uint8, "UINT8"), (torch.uint16, "UINT16"),
        (torch.uint32, "UINT32"), (torch.uint64, "UINT64"), (torch.int8, "INT8"),
        (torch.int16, "INT16"), (torch.int32, "INT32"), (torch.int64, "INT64"),
        (torch.float16, "FP16"), (torch.bfloat16, "BF16"), (torch.float32, "FP32"),
        (torch.float64, "FP64"), (torch.complex64, None),
    ],
)  # fmt: skip
def test_datatypes(read, dtype, datatype):
    found = read(torch.nn.Identity(), [torch.zeros(2, 3, dtype=dtype)])
    assert found.inputs[0].datatype == found.outputs[0].datatype == datatype


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"graph_module": {}}', b'{"a": ' * 9999],
)
def test_a_damaged_description_is_a_sentence(described, text):
    with pytest.raises(ConfigError, match="is damaged: its description"):
        described(lambda _: text)


def altered(*keys, to):
    def alter(text):
        whole = json.loads(text)
        place = whole["graph_module"]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to
        return json.dumps(whole)

    return alter


@pytest.mark.parametrize(
    "spec", ["", "{", "[]", "[1, 2]", "[1, {}]", '[1, {"type": []}]', "[" * 9999]
)
def test_a_strange_nesting_leaves_positions(described, spec):
    found = described(altered("module_call_graph", 0, "signature", "out_spec", to=spec))
    assert [tensor.name for tensor in found.outputs] == ["output_0", "output_1"]
    found = described(altered("module_call_graph", 0, "signature", "in_spec", to=spec))
    assert [tensor.name for tensor in found.inputs] == ["left", "right"]


@pytest.mark.parametrize(
    "argument",
    [{}, {"arg": 1}, {"arg": {"as_none": True}}, {"arg": {"as_tensor": {"name": "gone"}}}],
)
def test_what_is_no_tensor_has_no_datatype(described, argument):
    found = described(altered("signature", "output_specs", 0, to={"user_output": argument}))
    assert found.outputs[0] == Tensor("output_0", None, None)


LEAF = {"type": None, "context": None, "children_spec": []}


@pytest.mark.parametrize(
    ("kind", "context", "is_foreign"),
    [
        ("builtins.dict", '["a", "b"]', False),
        ("collections.OrderedDict", '["a", "b"]', False),
        ("collections.defaultdict", '{"dict_context": ["a", "b"]}', False),
        ("library.ModelOutput", '["a", "b"]', True),
        ("library.Dataclass", '[["a", "b"], ["c"]]', True),
    ],
)
def test_keys_and_fields_of_every_class_name_outputs(described, kind, context, is_foreign):
    spec = json.dumps([1, {"type": kind, "context": context, "children_spec": [LEAF, LEAF]}])
    change = altered("module_call_graph", 0, "signature", "out_spec", to=spec)
    assert [tensor.name for tensor in described(change).outputs] == ["a", "b"]
    names = read_export_names(described.path.open("rb"), described.path)
    assert (names.outputs, names.outputs_told, names.is_foreign) == (["a", "b"], True, is_foreign)


@pytest.mark.parametrize("context", ["null", "{", '["a"]', '["a", 1]', '[["a"]]', "[[]]", '"ab"'])
def test_a_context_that_names_nothing_leaves_positions(described, context):
    kind = {"type": "library.Odd", "context": context, "children_spec": [LEAF, LEAF]}
    spec = json.dumps([1, kind])
    found = described(altered("module_call_graph", 0, "signature", "out_spec", to=spec))
    assert [tensor.name for tensor in found.outputs] == ["output_0", "output_1"]


def test_no_archive(tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(b"weights")
    with pytest.raises(ConfigError, match=r"is no archive of torch\.export\.save"):
        read_export_signature(path)
