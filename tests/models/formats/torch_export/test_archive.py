"""Archives that would make torch run code, or grow without bound, are refused."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import torch

from serving.config import ConfigError
from serving.models.formats.loader import load
from serving.models.formats.torch_export.archive import harmless_archive, with_flat_results
from serving.models.repository.manifest import write_manifest

X = np.arange(6, dtype=np.float32).reshape(2, 3)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.offset = torch.tensor([5.0, 6.0])

    def forward(self, x):
        rows = x.shape[0]
        return self.linear(x).reshape(rows * 2).reshape(rows, 2) + self.offset


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


@pytest.fixture
def entry(make_exported_model):
    return make_exported_model(Net())


@pytest.fixture
def change(entry):
    """Rewrites the archive: `edit` gets and returns its files by name."""

    def rewrite(edit, compress=zipfile.ZIP_STORED):
        with zipfile.ZipFile(entry.weights) as archive:
            files = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(entry.weights, "w", compress) as archive:
            for name, content in edit(files).items():
                archive.writestr(f"archive/{name}", content)
        write_manifest(entry.directory, [entry.weights.name])
        return entry

    return rewrite


def edited(files, name, old, new):
    assert old in files[name]
    return {**files, name: files[name].replace(old, new)}


def test_a_rebuilt_archive_computes_the_same(entry, change):
    before = load(entry, "cpu").predict({"x": X})["y"]
    after = load(change(lambda files: files), "cpu").predict({"x": X})["y"]
    np.testing.assert_array_equal(after, before)


def test_texts_beside_the_model_are_left_out(change):
    entry = change(lambda files: {**files, "extra/note.txt": b"hello"})
    rebuilt = harmless_archive(entry.weights.read_bytes(), entry.weights)
    assert not [name for name in zipfile.ZipFile(rebuilt).namelist() if "extra" in name]
    load(entry, "cpu")


@pytest.mark.parametrize(
    "name",
    [
        "data/aotinductor/model/evil.so",
        "data/constants/opaque_obj_0",
        "data/constants/custom_obj_0",
        "data/weights/model.pt",
        "data/constants/model.pt",
        "data/weights/../../../../tmp/evil",
        "../../evil",
        "/etc/passwd",
        "models/other.json",
    ],
)
def test_entries_that_are_no_graph_and_no_numbers(change, name):
    with pytest.raises(ConfigError, match=r"may bring code.*trust_code"):
        load(change(lambda files: {**files, name: b"x"}), "cpu")


def test_sample_inputs_that_run_code(change, tmp_path):
    evil = pickle.dumps(Evil(tmp_path / "marker"))
    entry = change(lambda files: {**files, "data/sample_inputs/model.pt": evil})
    with pytest.raises(ConfigError, match="sample inputs"):
        load(entry, "cpu")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("what", ["weights", "constants"])
def test_weights_that_run_code(change, tmp_path, what):
    config = f"data/{what}/model_{what}_config.json"
    first = {"weights": "data/weights/weight_0", "constants": "data/constants/tensor_0"}[what]
    buffer = io.BytesIO()
    torch.save(Evil(tmp_path / "marker"), buffer)

    def edit(files):
        files = edited(files, config, b'"use_pickle": false', b'"use_pickle": true')
        return {**files, first: buffer.getvalue()}

    with pytest.raises(ConfigError, match="as a pickle"):
        load(change(edit), "cpu")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "target",
    [
        "torch.control plane.load",
        "torch.load",
        "torch.ops.load_library",
        "torch.ops.aten.__class__.mro",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.from_file.out",
        "torch.ops.aten.save",
        "torch.ops.aten._sparse_coo_tensor_unsafe.default",
        "torch.ops.aten._sparse_csr_tensor_unsafe.default",
        "torch.ops.aten._sparse_coo_tensor_with_dims_and_tensors.default",
        "torch.ops.debugprims.load_tensor.default",
        "torch.ops.inductor.resize_storage_bytes_.default",
        "torch.ops.c10d.send.default",
        "torch.ops.higher_order.call_torchbind",
        "torch._C._jit_decay_packed_param_input_types",
        "os.system",
        "builtins.exec",
        "_operator.methodcaller",
        "_operator.call",
        "math.__loader__.load_module",
    ],
)
def test_calls_of_what_is_no_operator(change, target):
    def edit(files):
        model = json.loads(files["models/model.json"])
        model["graph_module"]["graph"]["nodes"][0]["target"] = target
        return {**files, "models/model.json": json.dumps(model).encode()}

    with pytest.raises(ConfigError, match="no operator of a graph"):
        load(change(edit), "cpu")


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "exec(chr(49))",
        "open(s0)",
        "s0.__class__",
        "Integer.mro()",
        "eval(s0)",
        "lambda: 1",
        "[s0]",
        '"a"',
        5,
    ],
)
def test_sizes_that_are_code(change, expression):
    def edit(files):
        text = files["models/model.json"].decode()
        model = json.loads(text)
        model["evil"] = {"as_expr": {"expr_str": expression}}
        return {**files, "models/model.json": json.dumps(model).encode()}

    with pytest.raises(ConfigError, match="no arithmetic"):
        load(change(edit), "cpu")


def test_a_bomb(change):
    blanks = {"extra/blanks": b" " * (64 << 20)}
    entry = change(lambda files: {**files, **blanks}, zipfile.ZIP_DEFLATED)
    assert entry.weights.stat().st_size < 1 << 20
    with pytest.raises(ConfigError, match="unpacks to more"):
        load(entry, "cpu")


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_archive(entry, content):
    entry.weights.write_bytes(content)
    write_manifest(entry.directory, [entry.weights.name])
    with pytest.raises(ConfigError, match=r"model\.pt2: "):
        load(entry, "cpu")


def test_trusted_archives_are_read_as_they_are(change, make_exported_model):
    config = """
format: torch_export
trust_code: true
inputs:
  - {name: x, datatype: FP32, shape: [-1, 3]}
outputs:
  - {name: y, datatype: FP32, shape: [-1, 2]}
"""
    load(make_exported_model(Net(), config, name="trusted"), "cpu")


class Zeros(torch.nn.Module):
    def forward(self, x):
        return x[:, :2] + torch.zeros([2])


def test_a_graph_that_reads_a_file_of_the_server(make_exported_model, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"SECRETSE")
    entry = make_exported_model(Zeros())
    with zipfile.ZipFile(entry.weights) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in files if name.endswith("models/model.json"))
    model = json.loads(files[name])
    for node in model["graph_module"]["graph"]["nodes"]:
        if "zeros" in node["target"]:
            node["target"] = "torch.ops.aten.from_file.default"
            given = {"filename": {"as_string": str(secret)}, "shared": {"as_bool": False}}
            given["size"] = {"as_int": 2}
            node["inputs"] = [{"name": key, "arg": arg, "kind": 1} for key, arg in given.items()]
    with zipfile.ZipFile(entry.weights, "w") as archive:
        for entry_name, content in {**files, name: json.dumps(model).encode()}.items():
            archive.writestr(entry_name, content)
    write_manifest(entry.directory, [entry.weights.name])
    with pytest.raises(ConfigError, match=r"calls 'torch\.ops\.aten\.from_file"):
        load(entry, "cpu")


@pytest.mark.parametrize("content", [b"", b"junk", b"no description"])
def test_results_of_what_is_damaged_are_not_made_flat(tmp_path, content):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("archive/models/model.json", '{"graph_module": {}}')
    for each in (content, packed.getvalue()):
        with pytest.raises(ConfigError, match=r"model\.pt2: is damaged: "):
            with_flat_results(each, tmp_path / "model.pt2")
