"""What a model on arrays may return, and whose fault it is if it fails."""

from pathlib import Path

import numpy as np
import pytest

from serving.config import ModelConfig
from serving.errors import InvalidInput, ModelFailed, Unsupported
from serving.models.array_model import ArrayModel
from serving.models.repository.folder import ModelEntry

ROWS = np.ones((2, 3), np.float32)


def made(run, featured=None, datatype="FP32", shape=(-1, 2), **how) -> ArrayModel:
    x = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
    y = {"name": "y", "datatype": datatype, "shape": list(shape)}
    config = ModelConfig.model_validate({"format": "onnx", "inputs": [x], "outputs": [y]})
    return ArrayModel(ModelEntry("toy", "1", Path("/m/toy/1"), config), run, featured, **how)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ([1], "it returned a list, not arrays by name"),
        ({"z": 1}, "it returned 'z', model.yaml declares 'y'"),
        ({"y": [1]}, "output 'y' is a list, not an array"),
        ({"y": np.ones((2, 2))}, "output 'y' has float64, model.yaml declares FP32"),
        ({"y": ROWS}, "output 'y' has shape [2, 3] for 2 rows, model.yaml declares [-1, 2]"),
        ({"y": ROWS[:1, :2]}, "output 'y' has shape [1, 2] for 2 rows"),
        ({"y": ROWS[:, 0]}, "output 'y' has shape [2] for 2 rows"),
    ],
)
def test_outputs_that_are_not_what_was_declared(found, says):
    with pytest.raises(ModelFailed) as caught:
        made(lambda _inputs: found).predict({"x": ROWS})
    assert caught.value.message.startswith(f"model 'toy' failed: {says}")


def test_a_model_that_writes_to_its_inputs_fails():
    given = ROWS.copy()
    with pytest.raises(ModelFailed, match="read-only"):
        made(lambda inputs: inputs["x"].fill(9)).predict({"x": given})
    np.testing.assert_array_equal(given, ROWS)


def test_memory_of_own_code_is_copied():
    kept = np.ones((2, 2), np.float32)
    for own in (False, True):
        found = made(lambda _inputs: {"y": kept}, is_own_code=own).predict({"x": ROWS})["y"]
        assert np.shares_memory(found, kept) is not own


def test_text_of_own_code_is_bytes():
    text = np.array(["a", "b"], object)
    with pytest.raises(ModelFailed, match="output 'y' holds a str; BYTES are bytes"):
        made(lambda _inputs: {"y": text}, None, "BYTES", [-1], is_own_code=True).predict(
            {"x": ROWS}
        )


@pytest.mark.parametrize(
    "features", [None, [[1]], np.ones(2), np.ones((1, 4)), np.ones((2, 4), complex)]
)
def test_features_are_numbers_by_row(features):
    outputs = {"y": ROWS[:, :2]}
    good = made(lambda _i: outputs, lambda _i: {**outputs, "features": np.ones((2, 4), bool)})
    assert good.predict_with_features({"x": ROWS}).features.dtype == np.float32
    bad = made(lambda _i: outputs, lambda _i: {**outputs, "features": features})
    with pytest.raises(ModelFailed, match="features must be one array of numbers"):
        bad.predict_with_features({"x": ROWS})


def test_without_gradients_or_features():
    model = made(lambda _inputs: {})
    with pytest.raises(Unsupported, match="format onnx has no gradients"):
        model.module()
    with pytest.raises(Unsupported, match="this one of format onnx has no output for them"):
        model.predict_with_features({"x": ROWS})


def refuses_nan(inputs):
    if np.isnan(inputs["x"]).any():
        raise ValueError("no NaN")
    return {"y": inputs["x"][:, :2]}


@pytest.mark.parametrize(("own", "error"), [(False, InvalidInput), (True, ModelFailed)])
def test_a_value_at_fault_is_the_clients_unless_own_code_raised(own, error):
    with pytest.raises(error):
        made(refuses_nan, is_own_code=own).predict({"x": np.full((2, 3), np.nan, np.float32)})
