"""The batch on its way to another server, and what is taken of the answer."""

from __future__ import annotations

import numpy as np
import pytest

from serving.config import ModelConfig
from serving.errors import InvalidInput, ModelFailed
from serving.protocol.messages import Tensor
from serving.protocol.metadata import ModelMetadata, TensorMetadata
from serving.remote.batch_tensors import (
    LONGEST_VERSION,
    check_metadata,
    from_upstream,
    response_parameters_of,
    to_upstream,
    version_of,
)
from serving.remote.wire import Inferred


def config_of(row_axis=True, outputs=("y",)):
    return ModelConfig.model_validate(
        {
            "format": "remote",
            "remote": {"url": "http://h:1", "row_axis": row_axis, "join": row_axis},
            "inputs": [
                {"name": "x", "datatype": "FP32", "shape": [-1, 2]},
                {"name": "s", "datatype": "INT64", "shape": [-1], "sensitive": True},
            ],
            "outputs": [{"name": o, "datatype": "FP32", "shape": [-1, 1]} for o in outputs],
        }
    )


def y_of(shape, datatype="FP32", name="y", parameters=None):
    dtype = np.float32 if datatype == "FP32" else np.int64
    return Tensor(name, datatype, shape, np.zeros(shape, dtype), parameters)


def failure(ask):
    with pytest.raises(ModelFailed) as told:
        ask()
    assert told.value.message.startswith("the upstream server of model 'm' ")
    cause = told.value.cause
    return told.value.message, cause and cause.told


@pytest.mark.parametrize(("row_axis", "rows", "shape"), [(True, 3, (3, 2)), (False, 1, (2,))])
def test_inputs_are_those_of_the_model_and_not_sensitive(row_axis, rows, shape):
    x = np.ones((rows, 2), np.float32)
    inputs = {"other": x, "s": np.zeros(rows, np.int64), "x": x}
    (sent,) = to_upstream(config_of(row_axis), inputs)
    assert (sent.name, sent.datatype, sent.shape) == ("x", "FP32", shape)
    assert sent.data is x


def test_a_missing_input_is_named():
    with pytest.raises(InvalidInput, match="the model needs the input 'x'"):
        to_upstream(config_of(), {"s": np.zeros(1, np.int64)})
    assert len(to_upstream(config_of(), {"x": np.ones((1, 2), np.float32)})) == 1


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 1, 1)])
def test_declared_outputs_with_any_other_axes(shape):
    given = [y_of((9,), name="other"), y_of(shape)]
    outputs = from_upstream("m", config_of(), given, 3)
    assert outputs.keys() == {"y"}
    assert outputs["y"] is given[1].data


def test_without_row_axis_an_answer_is_one_row():
    assert from_upstream("m", config_of(row_axis=False), [y_of((4,))], 1)["y"].shape == (1, 4)
    assert from_upstream("m", config_of(row_axis=False), [y_of(())], 1)["y"].shape == (1,)


@pytest.mark.parametrize("shape", [(), (2,), (4, 1), (1, 3), (0, 1)])
def test_as_many_rows_as_were_asked(shape):
    said, told = failure(lambda: from_upstream("m", config_of(), [y_of(shape)], 3))
    assert f"answered output 'y' with shape {list(shape)} for 3 rows" in said
    assert said.endswith("if its first axis is no row, set remote.row_axis: false")
    assert told is None


def test_a_missing_output_is_told_with_what_came():
    said, told = failure(lambda: from_upstream("m", config_of(), [y_of((1,), name="Anna")], 1))
    assert said.endswith("answered 'Anna', model.yaml declares output 'y'")
    assert told.endswith("answered no output 'y', which model.yaml declares")
    said, _ = failure(lambda: from_upstream("m", config_of(), [], 1))
    assert "answered nothing, model.yaml" in said


def test_another_datatype_is_told_before_another_shape():
    said, told = failure(lambda: from_upstream("m", config_of(), [y_of((9,), "INT64")], 1))
    assert said.endswith("answered output 'y' as INT64, model.yaml declares FP32")
    assert "INT64" not in told


@pytest.mark.parametrize("version", ["", "7", "v0.1 é", "v" * LONGEST_VERSION])
def test_versions_are_kept_as_they_are(version):
    assert version_of("m", Inferred([], {}, version)) == version


@pytest.mark.parametrize("version", ["v" * (LONGEST_VERSION + 1), "a\nb", "\0", "\u202e1"])
def test_versions_that_nobody_writes(version):
    said, told = failure(lambda: version_of("m", Inferred([], {}, version)))
    assert "longer than 128 characters or not printable" in said
    assert len(said) < 250
    assert told.endswith("answered with a model_version that is too long or not printable")


SAID = {
    "content_type": "np", "a": 1, "binary_data_size": 4, "shared_memory_region": "r",
}  # fmt: skip


def passed(parameters, of_y=None, version="", *, alone=True):
    answer = Inferred([y_of((1,), parameters=of_y)], parameters, "9")
    return response_parameters_of(answer, version, alone=alone)


def test_a_request_alone_gets_what_is_not_about_the_wire():
    got = passed(SAID, SAID)
    assert got.parameters == {"content_type": "np", "a": 1}
    assert got.outputs == {"y": {"content_type": "np", "a": 1}}


def test_rows_of_several_requests_get_the_content_type_alone():
    got = passed(SAID, SAID, alone=False)
    assert got.parameters == {"content_type": "np"}
    assert got.outputs == {"y": {"content_type": "np"}}
    assert passed({"a": 1}, {"a": 1}, alone=False) is None


@pytest.mark.parametrize(
    "parameters",
    [{}, {"content_type": "base64"}, {"binary_data_size": 4}, {"shared_memory_offset": 0}],
)
@pytest.mark.parametrize("alone", [True, False])
def test_nothing_to_pass_on(parameters, alone):
    assert passed(parameters, parameters, alone=alone) is None
    assert passed({}, None, alone=alone) is None
    assert passed(parameters, None, "3", alone=alone) is not None


def test_only_the_name_content_type_means_base64():
    assert passed({"other": "base64"}).parameters == {"other": "base64"}


def told_of(inputs=(), outputs=()):
    def tensors(given):
        return tuple(TensorMetadata(name, datatype, (-1,)) for name, datatype in given)

    return ModelMetadata("m", (), "", tensors(inputs), tensors(outputs))


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ((), ()),
        ([("x", "FP32")], ()),
        ((), [("y", "FP32")]),
        ([("other", "BYTES"), ("x", "FP32")], [("y", "FP32"), ("z", "FP64")]),
    ],
)
def test_metadata_that_agrees_or_says_nothing(inputs, outputs):
    check_metadata("m", config_of(), told_of(inputs, outputs))


@pytest.mark.parametrize(
    ("inputs", "outputs", "why"),
    [
        ([("x", "FP64")], (), "has no input 'x' of FP32; it tells of x FP64: correct model.yaml"),
        ([("X", "FP32")], (), "has no input 'x' of FP32; it tells of X FP32"),
        ([("s", "INT64")], (), "has no input 'x'"),
        ((), [("a", "FP32"), ("b", "INT8")], "no output 'y' of FP32; it tells of a FP32, b INT8"),
    ],
)
def test_metadata_that_differs(inputs, outputs, why):
    said, _ = failure(lambda: check_metadata("m", config_of(), told_of(inputs, outputs)))
    assert why in said
