import numpy as np
import pytest

from serving.config import InputSpec, ModelConfig, OutputSpec
from serving.models.blank_row import blank_row, no_rows, told_blank_row

COLOURS = [{"name": "colour", "categories": ["red", "blue"]}, {"name": "word"}]


def spec(**more) -> InputSpec:
    return InputSpec.model_validate({"name": "x", "datatype": "FP32", "shape": [-1, 2], **more})


def config(*inputs: InputSpec, **more) -> ModelConfig:
    outputs = [OutputSpec(name="y", datatype="INT64", shape=[-1, 3, -1])]
    return ModelConfig(format="onnx", inputs=list(inputs), outputs=outputs, **more)


def test_numbers_are_zero_and_free_axes_have_one_element():
    row = blank_row(spec(shape=[-1, 2, -1]))
    assert (row.shape, row.dtype) == ((1, 2, 1), np.float32)
    assert not row.any()
    assert blank_row(spec(shape=[-1, -1]), (4,)).shape == (1, 4)


@pytest.mark.parametrize(
    ("features", "expected"), [(None, [[b"", b""]]), (COLOURS, [[b"red", b""]])]
)
def test_text_is_empty_or_the_first_category_of_its_column(features, expected):
    assert blank_row(spec(datatype="BYTES", features=features)).tolist() == expected


def test_no_rows_have_the_declared_shape():
    found = no_rows(config(spec()))["y"]
    assert (found.shape, found.dtype) == ((0, 3, 0), np.int64)


def test_what_text_is_tried_is_told_where_it_is_tried():
    text = spec(datatype="BYTES", features=COLOURS)
    told = told_blank_row(config(text))
    assert told is not None
    assert 'the text "red", "" for input \'x\'; name a request by `example`' in told
    assert told_blank_row(config(text, example="example.json")) is None
    assert told_blank_row(config(spec())) is None


def test_of_many_columns_some_are_told():
    told = told_blank_row(config(spec(datatype="BYTES", shape=[-1, 20])))
    assert told is not None
    assert told.count('""') == 8
    assert ", … for input" in told
