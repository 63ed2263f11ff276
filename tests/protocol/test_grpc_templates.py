"""Messages read and written by their likeness give just what parsing and the library give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import InvalidInput
from serving.protocol import grpc_codec
from serving.protocol.grpc_templates import RequestReader, ResponseWriter
from serving.protocol.messages import InferRequest, InferResponse, RequestedOutput, Tensor
from serving.protocol.pb.open_inference_pb2 import ModelInferRequest, ModelInferResponse


def message(values: np.ndarray, ident: str = "", **more: str) -> ModelInferRequest:
    made = ModelInferRequest(model_name="m", id=ident, **more)
    made.inputs.add(name="x", datatype="FP32", shape=values.shape)
    made.raw_input_contents.append(values.astype("<f4").tobytes())
    return made


def same(one: InferRequest, other: InferRequest, ids: bool = True) -> None:
    assert (one.model_name, one.model_version) == (other.model_name, other.model_version)
    assert not ids or one.id == other.id
    assert one.outputs == other.outputs
    assert one.parameters == other.parameters
    for a, b in zip(one.inputs, other.inputs, strict=True):
        assert (a.name, a.datatype, a.shape, a.parameters) == (
            b.name, b.datatype, b.shape, b.parameters,
        )  # fmt: skip
        assert a.data.dtype == b.data.dtype
        assert a.data.tobytes() == b.data.tobytes()


def test_the_second_message_is_not_parsed_and_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = RequestReader()
    one, two = np.zeros((2, 3)), np.arange(6.0).reshape(2, 3)
    reader.read(message(one, "a").SerializeToString())
    payload = message(two, "a").SerializeToString()
    expected = grpc_codec.decode_request(payload)
    monkeypatch.setattr(grpc_codec, "parse_request", None)
    request = reader.read(payload)
    same(request, expected)
    assert not request.inputs[0].data.flags.writeable


def test_ids_that_we_make_are_new_ones() -> None:
    reader = RequestReader()
    payload = message(np.ones((1, 2))).SerializeToString()
    assert len({reader.read(payload).id for _ in range(5)}) == 5


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.integers(1, 3),
            st.sampled_from(["", "a", "b", "bb"]),
            st.sampled_from(["", "1", "22"]),
            st.booleans(),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_any_row_of_messages_reads_as_by_parsing(
    rows: list[tuple[int, int, str, str, bool, bool]],
) -> None:
    reader = RequestReader()
    for number, (height, width, ident, version, output, parameter) in enumerate(rows):
        made = message(np.full((height, width), number), ident, model_version=version)
        if output:
            made.outputs.add(name="y")
        if parameter:
            made.parameters["priority"].int64_param = number % 2
        payload = made.SerializeToString()
        request = reader.read(payload)
        same(request, grpc_codec.decode_request(payload), ids=bool(ident))


def test_contents_that_are_not_last_are_never_taken_from_the_end() -> None:
    reader = RequestReader()
    first = message(np.ones((1, 2))).SerializeToString()
    # An unknown field whose end looks like contents.
    alike = first + b"\xfa\x7f" + bytes([10]) + b"\x3a\x08" + np.array([7, 7], "<f4").tobytes()
    for payload in (alike, alike):
        request = reader.read(payload)
        assert request.inputs[0].data.tolist() == [[1, 1]]


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_message_cut_short_is_refused_before_and_after_a_good_one(cut: int) -> None:
    payload = message(np.ones((2, 3))).SerializeToString()
    reader = RequestReader()
    reader.read(payload)
    reader.read(payload)
    broken = payload[:-cut]
    try:
        expected = grpc_codec.decode_request(broken)
    except InvalidInput as error:
        with pytest.raises(InvalidInput, match=str(error)[:30].replace("(", "\\(")):
            reader.read(broken)
    else:
        same(reader.read(broken), expected, ids=False)


def test_bool_is_looked_at_every_time() -> None:
    made = ModelInferRequest(model_name="m")
    made.inputs.add(name="x", datatype="BOOL", shape=[1, 1])
    made.raw_input_contents.append(b"\x01")
    reader = RequestReader()
    reader.read(made.SerializeToString())
    made.raw_input_contents[0] = b"\x02"
    with pytest.raises(InvalidInput, match="0 or 1"):
        reader.read(made.SerializeToString())


@pytest.mark.parametrize("rows", [1, 5, 2000])
@pytest.mark.parametrize("ident", ["", "a", "é" * 100])
def test_answers_are_the_library_s_bytes(rows: int, ident: str) -> None:
    writer = ResponseWriter()
    request = InferRequest("m", "", ident, ())
    for value in (0.0, 1.5):
        outputs = (
            Tensor("y", "FP32", (rows, 2), np.full((rows, 2), value, np.float32)),
            Tensor("label", "BYTES", (1,), np.array([b"cat"], object)),
        )
        response = InferResponse("m", "3", ident, outputs)
        written = writer.write(response, request)
        library = grpc_codec.encode_response(response, request)
        assert ModelInferResponse.FromString(written) == library
        if ident:
            assert written == library.SerializeToString()


def test_answers_with_parameters_or_typed_contents_go_through_the_library() -> None:
    writer = ResponseWriter()
    outputs = (Tensor("y", "FP32", (1, 2), np.ones((1, 2), np.float32)),)
    typed = (RequestedOutput("y", {"binary_data": False}),)
    for asked in ((), typed):
        request = InferRequest("m", "", "a", (), asked)
        for parameters in (None, {"vigil_flags": "schema"}):
            response = InferResponse("m", "3", "a", outputs, parameters)
            expected = grpc_codec.encode_response(response, request)
            assert writer.write(response, request) == expected.SerializeToString()
            assert bool(expected.raw_output_contents) is not bool(asked)
