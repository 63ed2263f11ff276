"""What shapes and columns the inputs and outputs of a `model.yaml` may have."""

import pytest
from pydantic import ValidationError

from serving.config import InputSpec, OutputSpec


def made(kind=InputSpec, **given):
    return kind.model_validate({"name": "x", "datatype": "FP32", "shape": [-1, 3], **given})


FEATURES = [{"name": "a"}, {"name": "b"}, {"name": "c"}]
B = {"name": "b"}


@pytest.mark.parametrize(
    ("given", "shape", "rowless"),
    [
        ({"shape": [-1]}, [-1], False),
        ({"shape": [-1, -1, 4]}, [-1, -1, 4], False),
        ({"shape": []}, [-1], True),
        ({"shape": [3]}, [-1, 3], True),
        ({"shape": [3, -1]}, [-1, 3, -1], True),
        ({"shape": [0]}, [-1, 0], True),
        ({"shape": [-1, 3], "rowless": True}, [-1, 3], True),
        ({"shape": [-1, 3], "rowless": False}, [-1, 3], False),
    ],
)
def test_an_input_whose_shape_does_not_begin_with_rows_has_none(given, shape, rowless):
    spec = made(**given)
    assert (spec.shape, spec.rowless) == (shape, rowless)
    assert InputSpec.model_validate(spec.model_dump()) == spec


@pytest.mark.parametrize("kind", [InputSpec, OutputSpec])
@pytest.mark.parametrize("shape", [[-1, -2], [-1, 3, -100]])
def test_sizes_below_the_free_axis_are_refused(kind, shape):
    side = "input" if kind is InputSpec else "output"
    with pytest.raises(ValidationError) as caught:
        made(kind, shape=shape)
    assert f"{side} 'x': shape {shape} has a size below -1; -1 is a free axis" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "given", "side"),
    [
        (OutputSpec, {"shape": []}, "output"),
        (OutputSpec, {"shape": [3]}, "output"),
        (OutputSpec, {"shape": [-2, 3]}, "output"),
        # Said to be of rows, or to have none: then the shape is as in this file, with the axis.
        (InputSpec, {"shape": [3], "rowless": False}, "input"),
        (InputSpec, {"shape": [], "rowless": True}, "input"),
    ],
)
def test_the_row_axis_comes_first(kind, given, side):
    with pytest.raises(ValidationError) as caught:
        made(kind, **given)
    assert f"{side} 'x': shape {given['shape']} must begin with -1, the row axis" in str(
        caught.value
    )


@pytest.mark.parametrize("shape", ["-1", 3, None, [None], [1.5], {"a": 1}])
@pytest.mark.parametrize("kind", [InputSpec, OutputSpec])
def test_what_is_no_shape_is_refused(kind, shape):
    with pytest.raises(ValidationError, match="shape"):
        made(kind, shape=shape)


@pytest.mark.parametrize("given", ["x", [], 7, None])
def test_what_is_no_input_is_refused(given):
    with pytest.raises(ValidationError):
        InputSpec.model_validate(given)


@pytest.mark.parametrize("more", [{"sensitive": True}, {"features": FEATURES}])
@pytest.mark.parametrize("shape", [[3], [-1, 3]])
def test_an_input_without_rows_has_no_columns_and_no_groups(more, shape):
    with pytest.raises(ValidationError, match="input 'x': has no rows, so it can have neither"):
        made(shape=shape, rowless=True, **more) if shape[0] == -1 else made(shape=shape, **more)


@pytest.mark.parametrize("kind", ["FORMAT_NHWC", "FORMAT_NCHW"])
def test_an_image_has_four_axes(kind):
    assert made(shape=[-1, 3, 8, 8], format=kind).format == kind
    assert made(shape=[3, 8, 8], format=kind).shape == [-1, 3, 8, 8]
    for shape in ([-1], [-1, 8, 8], [-1, 1, 3, 8, 8]):
        with pytest.raises(ValidationError, match=f"format {kind} needs a shape of four axes"):
            made(shape=shape, format=kind)
    assert made().format == "FORMAT_NONE"


@pytest.mark.parametrize("shape", [[-1], [-1, 2], [-1, -1], [-1, 3, 1]])
def test_features_are_the_columns_of_a_table(shape):
    assert made(features=FEATURES).features is not None
    with pytest.raises(ValidationError, match=r"input 'x': features needs shape \[-1, 3\]"):
        made(shape=shape, features=FEATURES)


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "BF16", "BYTES"])
def test_a_column_may_allow_missing_values(datatype):
    spec = made(datatype=datatype, shape=[-1, 2], features=[{"name": "a", "missing": "allow"}, B])
    assert [each.missing for each in spec.features] == ["allow", "refuse"]


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "INT64"])
def test_a_datatype_without_missing_values_cannot_allow_them(datatype):
    told = f"input 'x': feature 'a' has `missing: allow`, but {datatype} has no missing values"
    with pytest.raises(ValidationError, match=told):
        made(datatype=datatype, shape=[-1, 2], features=[B, {"name": "a", "missing": "allow"}])
    with pytest.raises(ValidationError, match="missing"):
        made(shape=[-1, 1], features=[{"name": "a", "missing": "maybe"}])


def test_a_table_without_columns_has_no_features():
    assert made(shape=[-1, 0], features=[]).features == []
    with pytest.raises(ValidationError, match=r"features needs shape \[-1, 0\]"):
        made(features=[])


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (InputSpec, "datatype", "FLOAT32"),
        (InputSpec, "datatype", "fp32"),
        (InputSpec, "format", "NCHW"),
        (InputSpec, "classes", ["a"]),
        (OutputSpec, "method", "fit"),
        (OutputSpec, "rowless", True),
    ],
)
def test_other_values_and_keys_are_refused(kind, key, value):
    with pytest.raises(ValidationError, match=key):
        made(kind, **{key: value})
