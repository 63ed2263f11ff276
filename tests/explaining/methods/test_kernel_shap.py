"""KernelSHAP as it is set up for a served model: its inputs, baselines, output and limits."""

import numpy as np
import pytest

from explain.kernel_shap import Limits
from serving.config import ModelConfig
from serving.explaining.methods import kernel_shap
from serving.explaining.methods.kernel_shap import BATCH_ROWS, build
from serving.protocol.datatypes import bf16_to_fp32, fp32_to_bf16

X = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
Y = {"name": "y", "datatype": "FP32", "shape": [-1, 2]}
WEIGHTS = np.array([[1, 2], [3, 4], [5, 6]], np.float32)


def config_of(*inputs, outputs=(Y,), batching=None, **explain):
    more = {"batching": batching} if batching else {}
    config = {
        "format": "onnx",
        "inputs": list(inputs),
        "outputs": list(outputs),
        "explain": {"method": "kernel_shap", **explain},
        **more,
    }
    return ModelConfig.model_validate(config)


class Fake:
    """A model that keeps what it is given."""

    def __init__(self, compute):
        self.compute = compute
        self.given = []

    def predict(self, inputs):
        self.given.append(inputs)
        return self.compute(inputs)


def linear(inputs):
    return {"z": np.zeros(len(inputs["x"]), np.float32), "y": inputs["x"] @ WEIGHTS}


def test_the_first_output_is_explained():
    z = {"name": "z", "datatype": "FP32", "shape": [-1]}
    explainer = build(config_of(X, outputs=[Y, z]), Fake(linear))
    found = explainer.explain({"x": np.array([[1, 0, 2]], np.float32)}, target=[1])
    np.testing.assert_allclose(found.values["x"], [[2, 0, 12]])


def test_sensitive_inputs_reach_neither_model_nor_explanation():
    sex = {"name": "sex", "datatype": "BYTES", "shape": [-1], "sensitive": True}
    model = Fake(linear)
    found = build(config_of(sex, X), model).explain({"x": np.ones((1, 3), np.float32)})
    assert list(found.values) == ["x"]
    assert {tuple(given) for given in model.given} == {("x",)}


def test_bf16_is_bits_for_the_model_alone():
    x, y = ({**each, "datatype": "BF16"} for each in (X, Y))

    def compute(inputs):
        assert inputs["x"].dtype == np.uint16
        assert inputs["n"].dtype == np.float32
        return {"y": fp32_to_bf16(bf16_to_fp32(inputs["x"]) @ WEIGHTS + inputs["n"])}

    n = {"name": "n", "datatype": "FP32", "shape": [-1, 1]}
    explainer = build(config_of(x, n, outputs=[y]), Fake(compute))
    given = {"x": np.array([[1, 0, 2]], np.float32), "n": np.array([[4]], np.float32)}
    found = explainer.explain(given, target=[0])
    np.testing.assert_allclose(found.values["x"], [[1, 0, 10]])
    np.testing.assert_allclose(found.values["n"], [[4]])


FEATURES = [{"name": "a", "categories": ["car", "Köln"]}, {"name": "b"}, {"name": "c"}]


@pytest.mark.parametrize(
    ("shape", "features", "absent"),
    [
        ([-1, 3], FEATURES, [b"car", b"", b""]),
        ([-1, 3], [*FEATURES[1:], FEATURES[0]], [b"", b"", b"car"]),
        ([-1, 3], None, [b""] * 3),
        ([-1, 1], [{"name": "a", "categories": ["Köln", "car"]}], ["Köln".encode()]),
        ([-1, 1], [{"name": "a", "categories": []}], [b""]),
        ([-1], None, b""),
    ],
)
def test_text_that_is_absent_is_the_first_category(shape, features, absent):
    text = {"name": "t", "datatype": "BYTES", "shape": shape}
    model = Fake(lambda inputs: {"y": np.zeros((len(inputs["t"]), 2), np.float32)})
    explainer = build(config_of({**text, **({"features": features} if features else {})}), model)
    row = np.full((1, *shape[1:]), b"home", object)
    explainer.explain({"t": row})
    seen = [each for given in model.given for each in given["t"].tolist()]
    assert absent in seen
    assert row.tolist()[0] in seen
    values = {value for each in seen for value in ([each] if isinstance(each, bytes) else each)}
    assert values == {b"home", *([absent] if isinstance(absent, bytes) else absent)}


def test_numbers_that_are_absent_are_zeros():
    model = Fake(linear)
    build(config_of(X), model).explain({"x": np.full((1, 3), 7, np.float32)})
    seen = np.concatenate([given["x"] for given in model.given])
    assert [0, 0, 0] in seen.tolist()
    assert set(np.unique(seen)) == {0, 7}


@pytest.mark.parametrize(
    ("batching", "rows"),
    [
        (None, BATCH_ROWS),
        ({"max_batch_size": 3}, 3),
        ({"max_batch_size": 1}, 1),
        ({"max_batch_size": BATCH_ROWS + 1}, BATCH_ROWS),
    ],
)
def test_a_call_of_the_model_has_no_more_rows_than_a_batch(batching, rows):
    model = Fake(linear)
    given = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    build(config_of(X, batching=batching), model).explain({"x": given})
    assert max(len(each["x"]) for each in model.given) == rows


def test_what_it_may_cost_is_that_of_the_configuration(monkeypatch):
    noted = {}
    monkeypatch.setattr(kernel_shap, "KernelShap", lambda *_, **more: noted.update(more))
    build(config_of(X, n_samples=77, max_completeness_error=0.125, max_seconds=2.5), Fake(linear))
    assert noted == {
        "n_samples": 77,
        "max_relative_error": 0.125,
        "limits": Limits(batch_rows=BATCH_ROWS, seconds=2.5),
    }
