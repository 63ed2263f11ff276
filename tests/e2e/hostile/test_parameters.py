"""Parameters that are reserved, of a wrong type, or far beyond what makes sense."""

import json
from typing import Any

import grpc
import pytest

pytestmark = pytest.mark.e2e

INVALID = grpc.StatusCode.INVALID_ARGUMENT

WRONG: dict[str, tuple[str, Any]] = {
    "reserved-triton": ("triton_request_id", "a"),
    "stream-end-text": ("triton_enable_empty_final_response", "true"),
    "reserved-vigil": ("vigil_flags", "schema"),
    "reserved-alone": ("vigil_", 1),
    "timeout-negative": ("timeout", -1),
    "timeout-least": ("timeout", -(2**63)),
    "timeout-text": ("timeout", "1000"),
    "timeout-fraction": ("timeout", 1.5),
    "timeout-bool": ("timeout", True),
    "priority-negative": ("priority", -1),
    "priority-text": ("priority", "high"),
    "binary-data-output-text": ("binary_data_output", "true"),
    "binary-data-output-number": ("binary_data_output", 1),
    "content-type-number": ("content_type", 1),
    "sensitive-features-number": ("sensitive_features", 1),
    "sensitive-features-no-json": ("sensitive_features", "{"),
    "sensitive-features-no-lists": ("sensitive_features", '{"sex": "F"}'),
    "sensitive-features-unknown": ("sensitive_features", '{"sex": ["F"]}'),
    "sensitive-features-deep": ("sensitive_features", '{"sex":' + "[" * 10_000),
    "sensitive-features-twice": ("sensitive_features", '{"sex":["F"],"sex":["M"]}'),
}


def body(target: Any, where: str, parameters: Any) -> dict[str, Any]:
    request = {**target.request([1, 2, 3, 4]), "outputs": [{"name": "x_out"}]}
    holder = {"request": request, "input": request["inputs"][0], "output": request["outputs"][0]}
    holder[where]["parameters"] = parameters
    return request


@pytest.mark.parametrize("case", WRONG)
def test_of_the_request(target: Any, case: str) -> None:
    name, value = WRONG[case]
    target.refused(target.post(body(target, "request", {name: value})), 400)
    message = target.message([1, 2, 3, 4])
    parameter = message.parameters[name]
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    setattr(parameter, kinds[type(value)], value)
    target.fails(INVALID, "parameter|sensitive", message)


@pytest.mark.parametrize("where", ["input", "output"])
@pytest.mark.parametrize(
    "case", ["reserved-triton", "reserved-vigil", "content-type-number", "timeout-text"]
)
def test_of_inputs_and_outputs(target: Any, case: str, where: str) -> None:
    name, value = WRONG[case]
    target.refused(target.post(body(target, where, {name: value})), 400, "parameter")


@pytest.mark.parametrize("value", [[1], {"a": 1}, 2**64, -(2**63) - 1, 10**400])
@pytest.mark.parametrize("where", ["request", "input", "output"])
def test_values_that_are_no_scalars_of_64_bits(target: Any, where: str, value: Any) -> None:
    request = body(target, where, {"a": "VALUE"})
    digits = "1" + "0" * 400 if value == 10**400 else json.dumps(value)
    answer = target.post(json.dumps(request).replace('"VALUE"', digits).encode())
    target.refused(answer, 400)


@pytest.mark.parametrize("parameters", [[], "a", 1, True])
@pytest.mark.parametrize("where", ["request", "input", "output"])
def test_parameters_that_are_no_object(target: Any, where: str, parameters: Any) -> None:
    target.refused(target.post(body(target, where, parameters)), 400)


def test_a_parameter_without_a_value_over_grpc(target: Any) -> None:
    message = target.message([1, 2, 3, 4])
    message.parameters["a"].SetInParent()
    target.fails(INVALID, "has no value", message)


@pytest.mark.parametrize("name", ["shared_memory_region", "shared_memory_byte_size"])
def test_shared_memory_is_not_offered(target: Any, name: str) -> None:
    target.refused(target.post(body(target, "input", {name: "a"})), 501, "not offered")
    message = target.message([1, 2, 3, 4])
    message.inputs[0].parameters[name].string_param = "a"
    target.fails(grpc.StatusCode.UNIMPLEMENTED, "not offered", message)


@pytest.mark.parametrize("timeout", [0, 60_000_000, 2**63, 2**64 - 1])
def test_timeouts_that_are_long_are_only_that(target: Any, timeout: int) -> None:
    answer = target.post(body(target, "request", {"timeout": timeout}))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", ["", "a" * 100_000, "\N{GRINNING FACE}", "a\nb", "__class__"])
def test_names_that_nobody_reads(target: Any, name: str) -> None:
    assert target.post(body(target, "request", {name: 1})).status_code == 200


def test_ten_thousand_parameters(target: Any) -> None:
    many = {f"p{number}": number for number in range(10_000)}
    assert target.post(body(target, "request", many)).status_code == 200


@pytest.mark.parametrize("count", [-1, -(2**63), 1001, 2**31, 2**63 - 1, "3", 1.0, True, [3]])
def test_class_counts(target: Any, count: Any) -> None:
    target.refused(target.post(body(target, "output", {"classification": count})), 400)


def test_class_counts_over_grpc(target: Any) -> None:
    for count in (-1, 1001, 2**63 - 1):
        message = target.message([1, 2, 3, 4])
        output = message.outputs.add(name="x_out")
        output.parameters["classification"].int64_param = count
        target.fails(INVALID, "classification", message)


def test_classes_of_a_small_output_are_as_many_as_it_has(target: Any) -> None:
    answer = target.post(body(target, "output", {"classification": 1000}))
    assert answer.json()["outputs"][0]["shape"] == [1, 4]


@pytest.mark.parametrize("method", ["ServerLive", "ModelInfer", "ModelStreamInfer"])
@pytest.mark.parametrize("timeout", ["1", "1x", "S", "-1S", "999999999S", "1.5S", "", "S1", "1 S"])
def test_deadlines_that_are_none(wire: Any, target: Any, timeout: str, method: str) -> None:
    with wire.H2(target.instance.grpc_port) as h2:
        pairs = wire.grpc_headers(f"/inference.GRPCInferenceService/{method}")
        h2.headers(1, [*pairs, ("grpc-timeout", timeout)])
        h2.frame(wire.DATA, wire.END_STREAM, 1, wire.prefixed(b""))
        (stream,) = h2.wait(1)
    # Others take some of these for what they might mean.
    if not target.differs("own-codes"):
        assert stream.grpc_status == 3
    assert stream.finished
