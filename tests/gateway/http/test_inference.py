"""Infer bodies in their three forms, and the headers of what answers them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from serving.dataplane.context import RequestContext
from serving.errors import InvalidInput, ModelNotFound
from serving.gateway.http.inference import infer, raw_request, read_request, reply
from serving.protocol.messages import InferRequest, InferResponse, Tensor

INFER = "/v2/models/m/infer"
LENGTH = b"inference-header-content-length"
RAW = np.array([[5, 6]], np.float32).tobytes()
ROW = {"datatype": "FP32", "shape": [-1, 2]}


def body(**more: Any) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}
    return json.dumps({"inputs": [tensor], **more}).encode()


def binary() -> tuple[bytes, bytes]:
    """Return a body with a binary tensor, and the length of its JSON part."""
    size = {"parameters": {"binary_data_size": len(RAW)}}
    head = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], **size}]})
    return head.encode() + RAW, b"%d" % len(head)


# -- requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["json", "binary", "raw"])
@pytest.mark.parametrize("given", [b"mine", b"th\xe9", b"a, b"])
async def test_each_form_names_model_version_and_the_header_s_id(
    serve: Any, form: str, given: bytes
) -> None:
    whole, length = {"json": (body(), b""), "binary": binary(), "raw": (RAW, b"0")}[form]
    headers = {b"x-request-id": given, **({LENGTH: length} if length else {})}
    request = read_request(serve("7"), headers, whole, "m", "7")
    assert (request.model_name, request.model_version) == ("m", "7")
    assert request.id == given.decode("latin-1")
    assert request.inputs[0].data.tolist() == ([[1, 2]] if form == "json" else [[5, 6]])


async def test_an_id_in_the_body_wins_and_without_any_one_is_made(serve: Any) -> None:
    headers = {b"x-request-id": b"mine"}
    assert read_request(serve(), headers, body(id="other"), "m", "").id == "other"
    made = {read_request(serve(), {}, body(), "m", "").id for _ in range(2)}
    assert len(made) == 2
    assert all(made)


async def test_a_model_is_looked_up_for_a_raw_body_only(serve: Any) -> None:
    assert read_request(serve(), {}, body(), "other", "").model_name == "other"
    with pytest.raises(ModelNotFound):
        read_request(serve(), {LENGTH: b"0"}, RAW, "other", "")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"-1", "must be a number of bytes"),
        (b"", "must be a number of bytes"),
        (b"\xb2", "must be a number of bytes"),
        (b"8, 8", "must be a number of bytes"),
        (b"9999", "but the body has"),
    ],
)
async def test_a_length_of_json_that_cannot_be(serve: Any, given: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read_request(serve(), {LENGTH: given}, body(), "m", "")


@pytest.mark.parametrize("length", ["-1", "x", "", "99999999999", "1e3", " 5"])
async def test_a_wrong_length_is_the_client_s_fault(ask: Any, length: str) -> None:
    answer = await ask("POST", INFER, body(), [("inference-header-content-length", length)])
    assert answer.status == 400


# -- raw requests -----------------------------------------------------------------------------


async def test_a_raw_body_asks_for_binary_outputs(serve: Any) -> None:
    request = raw_request(serve(), memoryview(RAW), "m", "", None)
    assert request.parameters == {"binary_data_output": True}
    assert (request.inputs[0].name, request.inputs[0].shape) == ("x", (1, 2))


async def test_sensitive_inputs_do_not_count(serve: Any) -> None:
    sex = {"name": "sex", "datatype": "INT64", "shape": [-1], "sensitive": True}
    plane = serve(inputs=[sex, {"name": "x", **ROW}])
    (tensor,) = raw_request(plane, RAW, "m", "", None).inputs
    assert tensor.name == "x"


async def test_a_model_with_two_inputs_has_no_raw_form(serve: Any) -> None:
    plane = serve(inputs=[{"name": "x", **ROW}, {"name": "z", **ROW}])
    with pytest.raises(InvalidInput, match="needs a model with one input; this has 2"):
        raw_request(plane, RAW, "m", "", None)


@pytest.mark.parametrize(
    ("row_axis", "declared", "shape"),
    [(True, [-1, -1], (1, 2)), (False, [-1, -1], (2,)), (False, [-1, 2, -1], (2, 1))],
)
async def test_a_free_dimension_is_the_row_s_where_there_are_rows(
    serve: Any, row_axis: bool, declared: list[int], shape: tuple[int, ...]
) -> None:
    # The first of the declared dimensions is the row's, and on no wire where there are none.
    x = {"name": "x", "datatype": "FP32", "shape": declared}
    plane = serve(inputs=[x], batching={"row_axis": row_axis})
    assert raw_request(plane, RAW, "m", "", None).inputs[0].shape == shape


async def test_a_body_is_several_rows_of_one_value(serve: Any) -> None:
    # Metadata tell [-1, 1] of such an input; its own shape is [-1].
    plane = serve(inputs=[{"name": "x", "datatype": "FP32", "shape": [-1]}])
    assert raw_request(plane, RAW, "m", "", None).inputs[0].shape == (2,)


# -- answers ----------------------------------------------------------------------------------


def answered(values: np.ndarray, ident: str = "q", **parameters: bool) -> Any:
    output = Tensor("y", "FP32", values.shape, values)
    request = InferRequest("m", "", ident, (), parameters=parameters)
    return reply(request, InferResponse("m", "1", ident, (output,)))


def test_an_answer_in_json() -> None:
    answer = answered(np.ones((1, 2), np.float32))
    assert (answer.status, answer.headers) == (
        200, [(b"content-type", b"application/json"), (b"x-request-id", b"q")],
    )  # fmt: skip
    assert json.loads(answer.body)["outputs"][0]["data"] == [1, 1]


def test_an_answer_in_binary_says_where_it_begins() -> None:
    answer = answered(np.ones((1, 2), np.float32), binary_data_output=True)
    at = len(answer.body) - 8
    assert answer.headers == [
        (b"content-type", b"application/octet-stream"), (LENGTH, b"%d" % at),
        (b"x-request-id", b"q"),
    ]  # fmt: skip
    assert answer.body[at:] == np.ones(2, np.float32).tobytes()


@pytest.mark.parametrize(
    ("ident", "told"),
    [("a b", True), ("~", True), ("a\tb", False), ("a\x7f", False), ("\u00e9", False),
     ("a\r\nb: c", False), ("\x00", False), ("\u2028", False)],
)  # fmt: skip
def test_an_id_that_could_end_its_header_is_in_the_body_alone(ident: str, told: bool) -> None:
    answer = answered(np.ones((1, 2), np.float32), ident)
    assert (b"x-request-id" in dict(answer.headers)) == told
    assert json.loads(answer.body)["id"] == ident


@pytest.mark.parametrize(
    ("values", "in_binary", "packs"),
    [(2000, False, True), (2000, True, False), (2, False, False), (2, True, False)],
)
def test_long_text_pays_to_compress_and_floats_do_not(
    values: int, in_binary: bool, packs: bool
) -> None:
    answer = answered(np.ones((1, values), np.float32), binary_data_output=in_binary)
    assert answer.packs == packs


# -- both -------------------------------------------------------------------------------------


async def test_the_context_goes_with_the_request(plane: Any, monkeypatch: Any) -> None:
    context, seen = RequestContext(client="here"), []
    whole = plane.infer

    async def spied(request: InferRequest, given: RequestContext) -> InferResponse:
        seen.append(given)
        response: InferResponse = await whole(request, given)
        return response

    monkeypatch.setattr(plane, "infer", spied)
    answer = await infer(plane, {b"x-request-id": b"mine"}, body(), "m", "", context)
    assert json.loads(answer.body)["outputs"][0]["data"] == [2, 4]
    assert seen == [context]


async def test_binary(ask: Any) -> None:
    data = np.array([[5, 6]], np.float32).tobytes()
    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": [1, 2],
        "parameters": {"binary_data_size": 8},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    length = ("inference-header-content-length", str(len(head)))
    answer = await ask("POST", INFER, head + data, [length])
    assert answer.headers["content-type"] == "application/octet-stream"
    tail = answer.body[int(answer.headers["inference-header-content-length"]) :]
    assert np.frombuffer(tail, np.float32).tolist() == [10, 12]
    raw = await ask("POST", INFER, data, [("inference-header-content-length", "0")])
    assert raw.body.endswith(tail)


@pytest.mark.parametrize(
    ("given", "echoed"),
    [("abc", True), ("a b", True), ("a\tb", False), ("h\xe9", False), ("x" * 257, None)],
)
async def test_ids_from_headers(ask: Any, given: str, echoed: bool | None) -> None:
    answer = await ask("POST", INFER, body(), [("x-request-id", given)])
    if echoed is None:
        assert answer.status == 400
    else:
        assert answer.json()["id"] == given
        assert ("x-request-id" in answer.headers) == echoed


async def test_an_id_cannot_write_headers(ask: Any) -> None:
    answer = await ask("POST", INFER, body(id="a\r\nset-cookie: b"))
    assert answer.status == 200
    assert set(answer.headers) == {"content-type", "content-length"}
