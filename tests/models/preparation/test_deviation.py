import numpy as np
import pytest

from serving.config import ConfigError, ModelConfig
from serving.errors import ModelFailed
from serving.models.contract import Capabilities, Prediction
from serving.models.preparation.deviation import (
    COMPILED_TOLERANCE,
    CONVERTED_TOLERANCE,
    Deviation,
    as_made,
    measure,
    require_tolerable,
    tolerance_of,
)
from serving.models.repository.folder import ModelEntry


class Fixed:
    """A model that gives what it was told to, whatever it is asked."""

    def __init__(self, outputs, features=None):
        self.outputs = outputs
        self.features = features
        self.capabilities = Capabilities(features=features is not None)

    def predict(self, inputs):
        if isinstance(self.outputs, Exception):
            raise self.outputs
        return self.outputs

    def predict_with_features(self, inputs):
        return Prediction(self.predict(inputs), self.features)


@pytest.fixture
def entry(tmp_path):
    def make(datatype="FP32", **more):
        config = ModelConfig.model_validate(
            {
                "format": "safetensors",
                "factory": "net:build",
                "trust_code": True,
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
                "outputs": [{"name": "y", "datatype": datatype, "shape": [-1, 2]}],
                "precision": "bf16",
                **more,
            }
        )
        return ModelEntry("toy", "1", tmp_path, config)

    return make


def deviation(entry, found, expected):
    served = Fixed({"y": np.array(found)})
    reference = Fixed({"y": np.array(expected)})
    return measure(entry, served, reference, [{"x": np.zeros((1, 3))}] * 2)


@pytest.mark.parametrize(
    ("found", "expected", "value"),
    [
        ([[1.0, 8.0]], [[1.0, 8.0]], 0),
        ([[1.0, 8.0]], [[2.0, 8.0]], 1 / 8),
        ([[0.0, 0.5]], [[0.0, 0.0]], 0.5),
        ([[np.nan, 8.0]], [[np.nan, 8.0]], 0),
        ([[np.nan, 8.0]], [[1.0, 8.0]], np.inf),
        ([[1.0, 8.0]], [[np.inf, 8.0]], np.inf),
        ([[1.0]], [[1.0, 8.0]], np.inf),
    ],
)
def test_the_largest_difference_as_a_share_of_the_largest_value(entry, found, expected, value):
    assert deviation(entry(), found, expected) == Deviation("y", pytest.approx(value), 2)


def test_of_classes_the_share_that_differs(entry):
    assert deviation(entry("INT64"), [[1, 2], [3, 4]], [[1, 2], [3, 9]]).value == 1 / 4


def test_bfloat16_is_compared_as_numbers(entry):
    bits = np.array([[0x3F80, 0x4000]], np.uint16)  # 1, 2
    other = np.array([[0x3F80, 0x4040]], np.uint16)  # 1, 3
    assert deviation(entry("BF16"), other, bits).value == 1 / 2


def test_features_count_too(entry):
    served = Fixed({"y": np.ones((1, 1))}, features=np.array([[3.0]]))
    reference = Fixed({"y": np.ones((1, 1))}, features=np.array([[4.0]]))
    found = measure(entry(), served, reference, [{"x": np.zeros((1, 3))}])
    assert found == Deviation("features", 0.25, 1)


def test_a_conversion_that_cannot_compute_is_told_apart_from_a_broken_model(entry):
    broken = Fixed(ModelFailed("model 'toy' failed: no kernel"))
    fine = Fixed({"y": np.zeros((1, 2))})
    batch = {"x": np.zeros((1, 3))}
    with pytest.raises(ConfigError, match="does not compute with precision bf16, though without"):
        measure(entry(), broken, fine, [batch])
    with pytest.raises(ModelFailed):
        measure(entry(), fine, broken, [batch])


def test_over_the_tolerance_is_refused_with_what_was_measured_and_what_is_allowed(entry):
    strict = entry(precision_tolerance=0.1)
    require_tolerable(strict, Deviation("y", 0.1, 7), "the example")
    with pytest.raises(ConfigError) as caught:
        require_tolerable(strict, Deviation("y", 0.125, 7), "the example")
    assert caught.value.message == (
        "model 'toy': with precision bf16 output 'y' deviates by 0.12 of its largest value on the "
        "example (7 rows), 0.1 allowed; raise precision_tolerance if that is good enough, or set "
        "`precision: fp32` and `compile: none`"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_never_tolerable(entry, value):
    with pytest.raises(ConfigError):
        require_tolerable(entry(precision_tolerance=9), Deviation("y", value, 1), "the example")


def test_default_tolerances(entry):
    assert tolerance_of(entry().config) == CONVERTED_TOLERANCE
    compiled = entry(precision="fp32", compile="default").config
    assert tolerance_of(compiled) == COMPILED_TOLERANCE
    assert tolerance_of(entry(precision_tolerance=0.5).config) == 0.5


def test_as_made_is_neither_converted_nor_compiled(entry):
    plain = as_made(entry(compile="default", batching={"buckets": [2], "max_batch_size": 9})).config
    assert (plain.precision, plain.compile, plain.batching.buckets) == ("fp32", "none", None)
    assert plain.batching.max_batch_size == 9
