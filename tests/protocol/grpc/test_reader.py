"""Messages read by their likeness say just what parsing says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import tritonclient.grpc
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import InvalidInput
from serving.protocol.grpc import codec as grpc_codec
from serving.protocol.grpc.reader import RequestReader
from serving.protocol.messages import InferRequest
from serving.protocol.pb.open_inference_pb2 import ModelInferRequest


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
    payload = message(two, "another").SerializeToString()
    expected = grpc_codec.decode_request(payload)
    monkeypatch.setattr(grpc_codec, "parse_request", None)
    request = reader.read(payload)
    same(request, expected)
    assert not request.inputs[0].data.flags.writeable


def tritonclient_message(ident: str, rows: int) -> ModelInferRequest:
    """Two inputs, one of which is no float, with what the client adds by itself."""
    x = tritonclient.grpc.InferInput("x", [rows, 3], "FP32")
    x.set_data_from_numpy(np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32))
    z = tritonclient.grpc.InferInput("z", [rows], "INT64")
    z.set_data_from_numpy(np.arange(rows))
    made = tritonclient.grpc._utils._get_inference_request(
        "m", [x, z], "1", ident, [tritonclient.grpc.InferRequestedOutput("y")],
        0, False, False, 3, None, None,
    )  # fmt: skip
    return ModelInferRequest.FromString(made.SerializeToString())


def typed_message(datatype: str, field: str, ident: str, rows: int) -> ModelInferRequest:
    made = ModelInferRequest(model_name="m", id=ident)
    for name in "xz":
        given = made.inputs.add(name=name, datatype=datatype, shape=[rows, 2])
        getattr(given.contents, field).extend([number + 0.5 for number in range(2 * rows)])
    made.outputs.add(name="y").parameters["classification"].int64_param = 1
    return made


KINDS = {
    "tritonclient": tritonclient_message,
    "fp32_contents": partial(typed_message, "FP32", "fp32_contents"),
    "fp64_contents": partial(typed_message, "FP64", "fp64_contents"),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
def test_what_a_real_client_changes_need_not_be_parsed(
    make: Callable[[str, int], ModelInferRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own id, of any usual length or none, and other numbers, for lengths seen before."""
    reader = RequestReader()
    for rows in (1, 2, 300):
        reader.read(make("first", rows).SerializeToString())
    sent = [
        make(ident, rows).SerializeToString()
        for rows in (300, 1, 2)
        for ident in ("", "a", "0190163d-8694-739b-aea5-966c26f8ad90", "é" * 60)
    ]
    expected = [grpc_codec.decode_request(payload) for payload in sent]
    monkeypatch.setattr(grpc_codec, "parse_request", None)
    for payload, request in zip(sent, expected, strict=True):
        same(reader.read(payload), request, ids=len(request.id) != 36)


def test_the_longest_id_is_read_by_parsing() -> None:
    reader = RequestReader()
    for ident in ("a", "x" * 127, "x" * 128, "é" * 64, "x" * 256):
        for _ in range(2):
            payload = message(np.ones((1, 2)), ident).SerializeToString()
            assert reader.read(payload).id == ident
    with pytest.raises(InvalidInput, match="256 characters"):
        reader.read(message(np.ones((1, 2)), "x" * 257).SerializeToString())


def test_an_id_that_is_no_text_is_refused_as_by_parsing() -> None:
    reader = RequestReader()
    payload = message(np.ones((1, 2)), "abcd").SerializeToString()
    reader.read(payload)
    with pytest.raises(InvalidInput, match="not a valid ModelInferRequest"):
        reader.read(payload.replace(b"abcd", b"ab\xff\xfe"))


def test_names_that_are_long_are_read_alike() -> None:
    """Their lengths take two bytes, or look like something else."""
    reader = RequestReader()
    for name in ("m", "n" * 127, "n" * 128, "\x12" * 127, "\x1a" * 200):
        for version in ("", "1", "\x1a\x01", "v" * 130):
            for ident in ("a", "bc"):
                made = message(np.ones((2, 2)), ident, model_version=version)
                made.model_name = name
                payload = made.SerializeToString()
                same(reader.read(payload), grpc_codec.decode_request(payload))


def test_a_flood_of_new_messages_does_not_evict_who_comes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = RequestReader()
    usual = message(np.ones((1, 2)), "a").SerializeToString()
    reader.read(usual)
    for number in range(3000):
        made = message(np.ones((1, 2)), "a", model_version=str(number))
        made.parameters["p"].int64_param = number
        reader.read(made.SerializeToString())
        if number % 400 == 0:
            reader.read(usual)
    assert reader._known.kept <= 1024
    monkeypatch.setattr(grpc_codec, "parse_request", None)
    reader.read(usual)


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
