import io
import warnings

import numpy as np
import pytest

from serving.config import ConfigError
from serving.models.export import save_files
from serving.models.formats.loader import load
from serving.models.formats.onnx.external_data import external_files
from serving.models.repository.folder import ModelRepository
from serving.models.repository.manifest import write_folder_manifest

onnx = pytest.importorskip("onnx", reason="needs onnx, from the group dev, to write graphs")
pytest.importorskip("onnxruntime", reason="needs ONNX Runtime, from vigil[onnx]")
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT

X = np.arange(6, dtype=np.float32).reshape(2, 3)
W = np.arange(6, dtype=np.float32).reshape(3, 2)
OFFSET = 4096
FILE = bytes(OFFSET) + W.tobytes()
CONFIG = """
format: onnx
inputs: [{name: x, datatype: FP32, shape: [-1, 3]}]
outputs: [{name: y, datatype: FP32, shape: [-1, 2]}]
"""


def external(name="w", **about):
    """A tensor whose data is W, in `model.onnx.data` unless `about` says otherwise."""
    tensor = onnx.numpy_helper.from_array(W, name)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    given = {"location": "model.onnx.data", "offset": OFFSET, "length": W.nbytes, **about}
    for key, value in given.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return tensor


def ends(out="y"):
    return [helper.make_tensor_value_info(out, FLOAT, ["rows", 2])]


def product(weights=(), *, constant=None, out="y", inputs=None):
    nodes = [helper.make_node("MatMul", ["x", "w"], [out])]
    if constant is not None:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=constant))
    given = [helper.make_tensor_value_info("x", FLOAT, ["rows", 3])] if inputs is None else inputs
    return helper.make_graph(nodes, out, given, ends(out), list(weights))


def branched(weight):
    """The same product in both branches of an If, whose graphs hold the weight."""
    then, other = (product([weight], out=name, inputs=[]) for name in ("a", "b"))
    condition = onnx.numpy_helper.from_array(np.array(True), "c")
    node = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    given = [helper.make_tensor_value_info("x", FLOAT, ["rows", 3])]
    return helper.make_graph([node], "g", given, ends(), [condition])


def model(graph):
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def make(tmp_path):
    def build(graph, files, listed=True):
        folder = tmp_path / "models" / "graph"
        version = folder / "1"
        version.mkdir(parents=True)
        (folder / "model.yaml").write_text(CONFIG)
        for name, content in files.items():
            (version / name).parent.mkdir(exist_ok=True)
            (version / name).write_bytes(content)
        (version / "model.onnx").write_bytes(model(graph).SerializeToString())
        if listed:
            write_folder_manifest(version)
        else:
            save_files(version, version / "model.onnx")
        return ModelRepository(tmp_path / "models").get("graph")

    return build


@pytest.mark.parametrize(
    ("graph", "files"),
    [
        (product([external()]), {"model.onnx.data": FILE}),
        (product([external(length=None)]), {"model.onnx.data": FILE}),
        (product([external(offset=None)]), {"model.onnx.data": W.tobytes()}),
        (product([external(location="w")]), {"w": FILE}),
        (product([external(location="data/w")]), {"data/w": FILE}),
        (product([external(location="./w")]), {"w": FILE}),
        (product([external(location="./data/.//w")]), {"data/w": FILE}),
        (product(constant=external("", location=".//w")), {"w": FILE}),
        (branched(external(location="./w")), {"w": FILE}),
        (product(constant=external("")), {"model.onnx.data": FILE}),
        (branched(external()), {"model.onnx.data": FILE}),
    ],
    ids=[
        "usual", "no length", "no offset", "a name", "a folder", "a dot", "dots",
        "a dot in a constant", "a dot in branches", "constant", "branches",
    ],
)  # fmt: skip
def test_weights_beside_the_graph_are_read(make, tmp_path, monkeypatch, graph, files):
    monkeypatch.chdir(tmp_path)  # not where the files lie
    entry = make(graph, files)
    np.testing.assert_allclose(load(entry, "cpu").predict({"x": X})["y"], X @ W)


def test_a_file_for_each_tensor(make):
    graph = product([external(location="w.bin"), external("more", location="more.bin")])
    entry = make(graph, {"w.bin": FILE, "more.bin": FILE})
    np.testing.assert_allclose(load(entry, "cpu").predict({"x": X})["y"], X @ W)


def test_the_bytes_that_were_checked_are_used(make):
    entry = make(product([external()]), {"model.onnx.data": FILE})
    loaded = load(entry, "cpu")
    with (entry.directory / "model.onnx.data").open("r+b") as file:
        file.write(bytes(len(FILE)))  # in place, as `cp` does
    np.testing.assert_allclose(loaded.predict({"x": X})["y"], X @ W)


def test_what_torch_exports_is_served(make, tmp_path):
    pytest.importorskip("onnxscript", reason="needs onnxscript for torch's exporter")
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(3, 2).eval()
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter uses what torch itself has deprecated
        torch.onnx.export(
            net, (torch.ones(2, 3),), path, input_names=["x"], output_names=["y"],
            dynamic_shapes=({0: torch.export.Dim("rows")},), external_data=True, verbose=False,
        )  # fmt: skip
    data = path.with_name("model.onnx.data").read_bytes()
    entry = make(product(), {"model.onnx.data": data})
    (entry.directory / "model.onnx").write_bytes(path.read_bytes())
    write_folder_manifest(entry.directory)
    expected = net(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(load(entry, "cpu").predict({"x": X})["y"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"location": "/etc/passwd"}, "keeps weights in '/etc/passwd', which is no file of the ve"),
        ({"location": "../1/model.onnx.data"}, "save the graph with its weights beside it"),
        ({"location": "../../other/1/w"}, "is no file of the version's folder"),
        ({"location": "data/../model.onnx.data"}, "is no file of the version's folder"),
        ({"location": ""}, "is no file of the version's folder"),
        ({"location": None}, "location"),
        ({"location": "*/_ORT_MEM_ADDR_/*"}, "is no file of the version's folder"),
        ({"location": "absent"}, r"absent: No such file .*\(model\.onnx keeps weights there\)"),
        ({"location": "link"}, r"link: lies outside the version's folder"),
        ({"location": "a\0b"}, r"\(model\.onnx keeps weights there\)"),
        ({"length": W.nbytes + 1}, r"has 4120 bytes, and model\.onnx keeps .* up to byte 4121"),
        ({"offset": 5000, "length": None}, "up to byte 5000"),
        ({"offset": -1}, r"offset '-1', length '24'\); export it anew"),
        ({"offset": "zero"}, "offset 'zero'"),
        ({"offset": 10**30}, "names no place"),
    ],
)
@pytest.mark.parametrize("place", [product, branched], ids=["main", "branches"])
def test_weights_that_lie_elsewhere_are_refused(make, tmp_path, about, says, place):
    (tmp_path / "secret").write_bytes(FILE)
    tensor = external(**about)
    entry = make(place([tensor]) if place is product else place(tensor), {"model.onnx.data": FILE})
    (entry.directory / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(ConfigError, match=says):
        load(entry, "cpu")


def test_files_that_the_manifest_does_not_cover_are_refused(make):
    entry = make(product([external()]), {"model.onnx.data": FILE}, listed=False)
    with pytest.raises(ConfigError, match=r"does not list model\.onnx\.data, so it is not used"):
        load(entry, "cpu")
    write_folder_manifest(entry.directory)
    load(entry, "cpu")
    (entry.directory / "model.onnx.data").write_bytes(FILE + b"more")
    with pytest.raises(ConfigError, match=r"model\.onnx\.data: its SHA-256 .* keeps weights there"):
        load(entry, "cpu")


@pytest.mark.parametrize("name", ["location", "\x0a\x08location\x12", "offset"])
def test_a_name_is_no_file(make, name):
    renamed = helper.make_node("Identity", ["x"], [name])
    graph = product([onnx.numpy_helper.from_array(W, "w")])
    graph.node.append(renamed)
    graph.node[-1].doc_string = "location"
    weight = graph.initializer[0]
    weight.external_data.add(key="location", value="/etc/passwd")  # but its data lies here
    entry = make(graph, {})
    np.testing.assert_allclose(load(entry, "cpu").predict({"x": X})["y"], X @ W)


def test_a_function_and_sparse_weights_are_looked_into(make):
    nodes = [
        helper.make_node("Constant", [], ["w"], value=external("")),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    function = helper.make_function("own", "F", ["x"], ["y"], nodes, [helper.make_opsetid("", 17)])
    whole = helper.make_model(product(), functions=[function])
    sparse = whole.graph.sparse_initializer.add()
    sparse.values.CopyFrom(external("values", location="values"))
    entry = make(product(), {"model.onnx.data": FILE, "values": FILE})
    assert external_files(entry, whole.SerializeToString()).keys() == {"model.onnx.data", "values"}


def test_a_hostile_graph_is_given_up(make):
    entry = make(product(), {})
    nested = b"location"
    for _ in range(200):  # graphs within attributes of nodes within graphs
        for number in (6, 5, 1):
            nested = bytes([number << 3 | 2]) + _varint(len(nested)) + nested
    with pytest.raises(ConfigError, match="nested too deeply"):
        external_files(entry, b"\x3a" + _varint(len(nested)) + nested)
    with pytest.raises(ConfigError, match="is no ONNX graph"):
        external_files(entry, b"\x3a\x7flocation")


def _varint(value):
    out = io.BytesIO()
    while value >= 0x80:
        out.write(bytes([value & 0x7F | 0x80]))
        value >>= 7
    out.write(bytes([value]))
    return out.getvalue()
