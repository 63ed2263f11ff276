import sys

import numpy as np
import pytest

from serving.config import ConfigError
from serving.errors import InvalidInput, ModelFailed, Unsupported
from serving.models.export import save_files
from serving.models.formats.loader import load
from serving.models.repository.folder import ModelRepository

onnx = pytest.importorskip("onnx", reason="needs onnx, from the group dev, to write graphs")
pytest.importorskip("onnxruntime", reason="needs ONNX Runtime, from vigil[onnx]")
TensorProto, helper = onnx.TensorProto, onnx.helper

X = np.arange(6, dtype=np.float32).reshape(2, 3)
CONFIG = """
format: onnx
inputs: [{name: x, datatype: FP32, shape: [-1, 3]}]
outputs: [{name: y, datatype: FP32, shape: [-1, 2]}]
"""


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def graph(nodes, inputs, outputs):
    weights = [onnx.numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w")]
    made = helper.make_graph(nodes, "g", inputs, outputs, weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def linear(*more_nodes, outputs=(), shape=("rows", 3)):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), *more_nodes]
    return graph(nodes, [value("x", shape)], [value("y", [shape[0], 2]), *outputs])


def doubled(name, shape=("rows", 3)):
    return linear(helper.make_node("Add", ["x", "x"], [name]), outputs=[value(name, shape)])


@pytest.fixture
def make(tmp_path):
    def build(model=None, config=CONFIG, content=None):
        folder = tmp_path / "models" / "graph"
        folder.mkdir(parents=True)
        (folder / "model.yaml").write_text(config)
        artefact = tmp_path / "model.onnx"
        artefact.write_bytes(content or (model or linear()).SerializeToString())
        save_files(folder / "1", artefact)
        return ModelRepository(tmp_path / "models").get("graph")

    return build


def test_predicts_without_gradients(make):
    model = load(make(), "cpu")
    weights = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_allclose(model.predict({"x": X})["y"], X @ weights)
    assert model.predict({"x": X[:0]})["y"].shape == (0, 2)
    assert not model.capabilities.features
    with pytest.raises(Unsupported, match="format onnx has no gradients"):
        model.module()


def test_an_output_of_that_name_gives_features(make):
    model = load(make(doubled("features")), "cpu")
    np.testing.assert_array_equal(model.predict_with_features({"x": X}).features, X * 2)
    assert model.predict({"x": X}).keys() == {"y"}


def test_other_outputs_are_left_alone(make):
    model = load(make(doubled("more")), "cpu")
    assert not model.capabilities.features
    assert model.predict({"x": X}).keys() == {"y"}


def test_text_goes_in_and_comes_out_as_bytes(make):
    kind = TensorProto.STRING
    nodes = [helper.make_node("Identity", ["t"], ["u"])]
    model = graph(nodes, [value("t", ["n", 1], kind)], [value("u", ["n", 1], kind)])
    config = """
format: onnx
inputs: [{name: t, datatype: BYTES, shape: [-1, 1]}]
outputs: [{name: u, datatype: BYTES, shape: [-1, 1]}]
"""
    loaded = load(make(model, config), "cpu")
    words = np.array([["grün".encode()], [b""]], object)
    np.testing.assert_array_equal(loaded.predict({"t": words})["u"], words)
    assert loaded.predict({"t": words[:0]})["u"].shape == (0, 1)
    with pytest.raises(InvalidInput, match="input 't': holds bytes that are no text; send UTF-8"):
        loaded.predict({"t": np.array([[b"\xff"]], object)})


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("name: x", "name: z", r"no input 'z', which model\.yaml declares; it has 'x'"),
        ("name: y", "name: z", r"no output 'z', which model\.yaml declares; it has 'y'"),
        ("FP32, shape: [-1, 3]", "FP64, shape: [-1, 3]", r"'x' is FP32 \[-1, 3\], .* FP64"),
        ("FP32, shape: [-1, 2]", "INT64, shape: [-1, 2]", r"'y' is FP32 \[-1, 2\], .* INT64"),
        ("[-1, 3]", "[-1, 4]", r"'x' is FP32 \[-1, 3\], model\.yaml declares FP32 \[-1, 4\]"),
        ("[-1, 2]", "[-1]", r"'y' is FP32 \[-1, 2\], model\.yaml declares FP32 \[-1\]"),
        ("FP32, shape: [-1, 2]", "BF16, shape: [-1, 2]", "BF16 is not offered"),
    ],
)
def test_what_does_not_fit_is_named(make, old, new, says):
    with pytest.raises(ConfigError, match=rf"model\.onnx: .*{says}"):
        load(make(config=CONFIG.replace(old, new)), "cpu")


def test_an_input_that_is_not_declared_is_named(make):
    nodes = [helper.make_node("Add", ["x", "z"], ["y"])]
    ends = [value(name, ["n", 2]) for name in ("x", "z", "y")]
    config = CONFIG.replace("[-1, 3]", "[-1, 2]")
    with pytest.raises(ConfigError, match=r"needs the input 'z' \(FP32 \[-1, 2\]\)"):
        load(make(graph(nodes, ends[:2], ends[2:]), config), "cpu")


def test_a_fixed_number_of_rows_is_refused(make):
    with pytest.raises(ConfigError, match=r"'x' is FP32 \[4, 3\] \(a fixed number of rows\)"):
        load(make(linear(shape=(4, 3))), "cpu")


@pytest.mark.parametrize("axes", [0, 3])
def test_what_is_no_table_is_no_features_for_guards(make, axes):
    node = helper.make_node("ReduceSum", ["x"], ["features"], keepdims=0)
    output = value("features", [])
    if axes:
        node = helper.make_node("Unsqueeze", ["x", "two"], ["features"])
        output = value("features", ["rows", 3, 1])
    model = linear(node, outputs=[output])
    if axes:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2]), "two"))
    assert not load(make(model), "cpu").capabilities.features


def test_features_that_are_no_table_may_be_an_output(make):
    node = helper.make_node("Unsqueeze", ["x", "two"], ["features"])
    model = linear(node, outputs=[value("features", ["rows", 3, 1])])
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2]), "two"))
    config = CONFIG.replace(
        "outputs: [", "outputs: [{name: features, datatype: FP32, shape: [-1, 3, 1]}, "
    )
    found = load(make(model, config), "cpu").predict({"x": X})
    np.testing.assert_array_equal(found["features"], X[:, :, None])


@pytest.mark.parametrize("rows", [1, 7])
def test_the_rows_of_an_output_are_the_exporters_guess(make, rows):
    model = linear()
    model.graph.output[0].CopyFrom(value("y", [rows, 2]))
    model = load(make(model), "cpu")
    assert model.predict({"x": X})["y"].shape == (2, 2)
    assert model.predict({"x": X[:1]})["y"].shape == (1, 2)


def test_an_output_that_has_other_rows_fails_when_it_is_computed(make):
    summed = helper.make_node("ReduceSum", ["w"], ["y"], keepdims=1)
    nodes = [summed, helper.make_node("Identity", ["x"], ["unused"])]
    made = graph(nodes, [value("x", ["rows", 3])], [value("y", [1, 1])])
    config = CONFIG.replace("[-1, 2]", "[-1, 1]")
    with pytest.raises(ModelFailed, match="output 'y'"):
        load(make(made, config), "cpu").predict({"x": X})


def test_a_name_is_no_external_data(make):
    model = linear()
    model.graph.input[0].name = "location"
    model.graph.node[0].input[0] = "location"
    config = CONFIG.replace("name: x,", "name: location,")
    weights = np.arange(6, dtype=np.float32).reshape(3, 2)
    found = load(make(model, config), "cpu").predict({"location": X})
    np.testing.assert_allclose(found["y"], X @ weights)


def test_a_damaged_graph_is_named(make):
    with pytest.raises(ConfigError, match=r"model\.onnx: .*protobuf parsing failed"):
        load(make(content=b"junk"), "cpu")


def test_a_changed_graph_is_refused(make):
    entry = make()
    entry.weights.write_bytes(doubled("more").SerializeToString())
    with pytest.raises(ConfigError, match=r"model\.onnx: its SHA-256"):
        load(entry, "cpu")


@pytest.mark.parametrize(("device", "says"), [("cuda", "has no CUDA"), ("tpu", "use auto, cpu")])
def test_unknown_devices(make, device, says):
    with pytest.raises(ConfigError, match=says):
        load(make(), device)


def test_without_the_extra_it_is_named(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"needs ONNX Runtime; install vigil\[onnx\]"):
        load(make(), "cpu")
