import numpy as np
import pytest

from serving.config import ConfigError
from serving.models.export import save_files
from serving.models.formats.loader import load
from serving.models.repository.folder import ModelRepository

onnx = pytest.importorskip("onnx", reason="needs onnx, from the group dev, to write graphs")
pytest.importorskip("onnxruntime", reason="needs ONNX Runtime, from vigil[onnx]")
helper = onnx.helper

X = np.array([[3, 1, 2], [0, 5, 1]], np.float32)
TEXTS, NUMBERS = ["b", "a", "c"], [10, -2, 7]


def zipmap(classes):
    """Return a graph that gives the columns of x as a map from class to score."""
    texts = isinstance(classes[0], str)
    key = onnx.TensorProto.STRING if texts else onnx.TensorProto.INT64
    labels = {"classlabels_strings" if texts else "classlabels_int64s": classes}
    node = helper.make_node("ZipMap", ["x"], ["p"], domain="ai.onnx.ml", **labels)
    scores = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(key, scores))
    made = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3])],
        [helper.make_value_info("p", kind)],
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(made, opset_imports=versions, ir_version=8)


@pytest.fixture
def make(tmp_path):
    def build(classes, outputs=""):
        folder = tmp_path / "models" / "maps"
        folder.mkdir(parents=True)
        (folder / "model.yaml").write_text(f"format: onnx\n{outputs}")
        artefact = tmp_path / "model.onnx"
        artefact.write_bytes(zipmap(classes).SerializeToString())
        save_files(folder / "1", artefact)
        return ModelRepository(tmp_path / "models").get("maps")

    return build


@pytest.mark.parametrize("classes", [TEXTS, NUMBERS])
def test_the_maps_are_a_table_in_the_order_of_their_classes(make, classes):
    entry = make(classes)
    (output,) = entry.config.outputs
    ascending = sorted(classes)
    assert (output.datatype, output.shape) == ("FP32", [-1, 3])
    assert output.classes == [str(label) for label in ascending]
    columns = [classes.index(label) for label in ascending]
    found = load(entry, "cpu").predict({"x": X})["p"]
    np.testing.assert_array_equal(found, X[:, columns])


def test_declared_classes_choose_the_order(make):
    declared = "outputs: [{name: p, datatype: FP32, shape: [-1, 3], classes: [c, b, a]}]"
    found = load(make(TEXTS, declared), "cpu").predict({"x": X})["p"]
    np.testing.assert_array_equal(found, X[:, [2, 0, 1]])


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ("FP32, shape: [-1, 3], classes: [c, b, d]", "the graph's classes are a, b, c, model.yaml"),
        ("FP32, shape: [-1, 2]", r"write .datatype: FP32, shape: \[-1, 3\]"),
        ("FP64, shape: [-1, 3]", r"write .datatype: FP32, shape: \[-1, 3\]"),
    ],
)
def test_what_does_not_fit_is_told(make, declared, says):
    entry = make(TEXTS, f"outputs: [{{name: p, datatype: {declared}}}]")
    with pytest.raises(ConfigError, match=says):
        load(entry, "cpu")
