"""Numbers that do not fit their datatype and shapes that do not fit their data: never coerced."""

import json
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

pytestmark = pytest.mark.e2e

GOOD = {
    "bool": ("BOOL", [True, False]),
    "int8": ("INT8", [-128, 127]),
    "int16": ("INT16", [-(2**15), 2**15 - 1]),
    "int32": ("INT32", [-(2**31), 2**31 - 1]),
    "int64": ("INT64", [-(2**63), 2**63 - 1]),
    "uint8": ("UINT8", [0, 255]),
    "uint16": ("UINT16", [0, 2**16 - 1]),
    "uint32": ("UINT32", [0, 2**32 - 1]),
    "uint64": ("UINT64", [0, 2**64 - 1]),
    "fp16": ("FP16", [65504.0, -0.5]),
    "bf16": ("BF16", [3.3895313892515355e38, -0.5]),
    "fp32": ("FP32", [3.4028234663852886e38, 1.0]),
    "fp64": ("FP64", [1.7976931348623157e308, 5e-324]),
    "bytes": ("BYTES", ["a\0b", ""]),
}


def kinds(**changes: dict[str, Any]) -> dict[str, Any]:
    """A request for `kinds`, good but for `changes` of its inputs by name."""
    inputs = [
        {"name": name, "datatype": datatype, "shape": [1, 2], "data": data, **changes.get(name, {})}
        for name, (datatype, data) in GOOD.items()
    ]
    return {"inputs": inputs}


def test_the_extremes_of_every_datatype_come_back_as_they_went(target: Any) -> None:
    answer = target.post(kinds(), model="kinds")
    assert answer.status_code == 200, answer.text
    given = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    expected = {f"{name}_out": data for name, (_, data) in GOOD.items()}
    float32 = np.float32  # in which JSON has the numbers of BF16
    for name, datatype in (("fp16_out", np.float16), ("bf16_out", float32), ("fp32_out", float32)):
        assert datatype(given.pop(name)).tolist() == datatype(expected.pop(name)).tolist()
    assert given == expected


COERCIONS = {
    "fraction-to-int32": ("int32", 1.7),
    "float-to-int32": ("int32", 1.0),
    "text-to-int32": ("int32", "1"),
    "bool-to-int32": ("int32", True),
    "null-to-int32": ("int32", None),
    "over-int32": ("int32", 2**31),
    "under-int32": ("int32", -(2**31) - 1),
    "300-to-int8": ("int8", 300),
    "128-to-int8": ("int8", 128),
    "over-int16": ("int16", 2**15),
    "over-uint16": ("uint16", 2**16),
    "over-uint32": ("uint32", 2**32),
    "over-int64": ("int64", 2**63),
    "1e18-to-int64": ("int64", 1e18),
    "minus-1-to-uint8": ("uint8", -1),
    "256-to-uint8": ("uint8", 256),
    "over-uint64": ("uint64", 2**64),
    "2**64+1-to-uint64": ("uint64", 2**64 + 1),
    "minus-1-to-uint64": ("uint64", -1),
    "text-to-bool": ("bool", "false"),
    "0-to-bool": ("bool", 0),
    "1-to-bool": ("bool", 1),
    "null-to-bool": ("bool", None),
    "over-fp16": ("fp16", 65520),
    "over-bf16": ("bf16", 3.3999e38),
    "text-to-bf16": ("bf16", "1"),
    "bool-to-fp16": ("fp16", True),
    "over-fp32": ("fp32", 1e39),
    "huge-integer-to-fp64": ("fp64", 10**400),
    "text-to-fp32": ("fp32", "1.0"),
    "bool-to-fp32": ("fp32", True),
    "number-to-bytes": ("bytes", 1),
    "null-to-bytes": ("bytes", None),
    "list-to-bytes": ("bytes", [1]),
}


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@pytest.mark.parametrize("case", COERCIONS)
def test_nothing_is_coerced(target: Any, case: str, nested: bool) -> None:
    name, value = COERCIONS[case]
    data = [GOOD[name][1][0], value]
    answer = target.post(kinds(**{name: {"data": [data] if nested else data}}), model="kinds")
    target.refused(answer, 400, f"input '{name}'")


TYPED = {
    "300-to-int8": ("int8", "int_contents", [300, 0]),
    "over-int16-as-int8": ("int8", "int_contents", [2**16, 0]),
    "256-to-uint8": ("uint8", "uint_contents", [256, 0]),
    "int32-in-int64-field": ("int32", "int64_contents", [1, 2]),
    "int8-in-uint-field": ("int8", "uint_contents", [1, 2]),
    "fp32-in-fp64-field": ("fp32", "fp64_contents", [1, 2]),
    "bool-in-int-field": ("bool", "int_contents", [1, 0]),
    "bytes-in-int-field": ("bytes", "int_contents", [1, 0]),
    "fp16-has-none": ("fp16", "fp32_contents", [1, 2]),
    "bf16-has-none": ("bf16", "fp32_contents", [1, 2]),
    "over-uint16": ("uint16", "uint_contents", [2**16, 0]),
    "too-few": ("fp32", "fp32_contents", [1]),
    "too-many": ("fp32", "fp32_contents", [1, 2, 3]),
    "none": ("fp32", "fp32_contents", []),
}


@pytest.mark.parametrize("case", TYPED)
def test_typed_contents_are_not_coerced(target: Any, case: str) -> None:
    name, field, values = TYPED[case]
    message = service_pb2.ModelInferRequest(model_name="kinds")
    tensor = message.inputs.add(name=name, datatype=GOOD[name][0], shape=[1, 2])
    getattr(tensor.contents, field).extend(values)
    target.fails(grpc.StatusCode.INVALID_ARGUMENT, f"'{name}'", message)


SHAPES: dict[str, list[Any]] = {
    "product-wraps-to-0": [2**32, 2**32, 16],
    "product-wraps-to-4": [2**62 + 1, 4],
    "product-wraps-to-1": [2**64 + 1],
    "beyond-64-bits": [2**64 + 1, 4],
    "huge": [2**31, 2**31],
    "declares-a-terabyte": [2**38, 4],
    "minus-1": [-1, 4],
    "two-minus-1": [-1, -4],
    "least-int64": [-(2**63), 4],
    "zero-rows": [0, 4],
    "zero-columns": [4, 0],
    "zeros": [0, 0],
    "scalar": [],
    "rank-1": [4],
    "rank-3": [1, 4, 1],
    "rank-33": [1] * 32 + [4],
    "rank-100000": [1] * 100_000,
    "too-wide": [1, 5],
    "transposed": [4, 1],
    "too-many-rows": [2, 4],
}
NOT_INTEGERS: dict[str, Any] = {
    "float": [1.0, 4],
    "text": ["1", 4],
    "bool": [True, 4],
    "null": [None, 4],
    "nested": [[1], 4],
    "no-list": 4,
    "5000-digits": [10**5000, 4],
}


@pytest.mark.parametrize("data", [[], [1.0, 2.0, 3.0, 4.0]], ids=["no-data", "four"])
@pytest.mark.parametrize("case", [*SHAPES, *NOT_INTEGERS])
def test_shapes_in_json(target: Any, case: str, data: list[float]) -> None:
    shape = SHAPES.get(case, NOT_INTEGERS.get(case))
    body = str({"name": "x", "datatype": "FP32", "shape": "SHAPE", "data": data}).replace("'", '"')
    text = "[" + "9" * 5000 + "]" if case == "5000-digits" else json.dumps(shape)
    body = body.replace('"SHAPE"', text)
    answer = target.post(f'{{"inputs":[{body}]}}'.encode())
    if case == "zero-rows" and not data:  # no rows are answered with no rows
        assert (answer.status_code, answer.json()["outputs"][0]["shape"]) == (200, [0, 4])
    else:
        target.refused(answer, 400)


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
@pytest.mark.parametrize(
    "case", [case for case, shape in SHAPES.items() if all(abs(d) < 2**63 for d in shape)]
)
@pytest.mark.parametrize("elements", [0, 4])
def test_shapes_over_grpc(target: Any, case: str, typed: bool, elements: int) -> None:
    message = service_pb2.ModelInferRequest(model_name="echo")
    tensor = message.inputs.add(name="x", datatype="FP32", shape=SHAPES[case])
    if typed:
        tensor.contents.fp32_contents.extend([1.0] * elements)
    else:
        message.raw_input_contents.append(bytes(4 * elements))
    if case == "zero-rows" and not elements:
        answer = service_pb2.ModelInferResponse.FromString(target.call(message))
        assert answer.outputs[0].shape == [0, 4]
    else:
        target.fails(grpc.StatusCode.INVALID_ARGUMENT, "'x'|dimension", message)


RAGGED: dict[str, Any] = {
    "short-row": [[1, 2, 3, 4], [5, 6, 7]],
    "long-row": [[1, 2, 3, 4], [5, 6, 7, 8, 9]],
    "same-count": [[1, 2, 3, 4, 5], [6, 7, 8]],
    "mixed-depth": [[1, 2, 3, 4], 5, 6, 7, 8],
    "too-deep": [[[1, 2, 3, 4], [5, 6, 7, 8]]],
    "transposed": [[1, 2], [3, 4], [5, 6], [7, 8]],
    "short": [1, 2, 3, 4, 5, 6, 7],
    "long": [1, 2, 3, 4, 5, 6, 7, 8, 9],
    "empty": [],
    "empty-rows": [[], []],
    "object": {"0": 1},
    "text": "1,2,3,4,5,6,7,8",
    "null": None,
}


@pytest.mark.parametrize("case", RAGGED)
def test_ragged_data(target: Any, case: str) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, 4], "data": RAGGED[case]}
    target.refused(target.post({"inputs": [tensor]}), 400, "'x'")


@pytest.mark.parametrize(
    "datatype", ["fp32", "FLOAT", "float32", "INT128", "", "FP32\0", "F" * 10_000, "COMPLEX64"]
)
def test_unknown_datatypes(target: Any, datatype: str) -> None:
    tensor = {"name": "x", "datatype": datatype, "shape": [1, 4], "data": [1, 2, 3, 4]}
    target.refused(target.post({"inputs": [tensor]}), 400, "unknown datatype")
    message = target.message([1, 2, 3, 4])
    message.inputs[0].datatype = datatype
    target.fails(grpc.StatusCode.INVALID_ARGUMENT, "unknown datatype", message)


@pytest.mark.parametrize("datatype", ["INT32", "FP64", "BOOL", "BYTES", "BF16"])
def test_a_datatype_that_is_not_the_models(target: Any, datatype: str) -> None:
    value: Any = {"BOOL": True, "BYTES": "1"}.get(datatype, 1)
    tensor = {"name": "x", "datatype": datatype, "shape": [1, 4], "data": [value] * 4}
    target.refused(target.post({"inputs": [tensor]}), 400, f"is FP32, not {datatype}")
