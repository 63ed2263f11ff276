"""Paths, bodies and answers of the HTTP wire, as other servers write them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from serving.channel.messages.inference import Passthrough
from serving.errors import ModelFailed
from serving.protocol.messages import Tensor
from serving.remote.http.wire import LENGTH, HttpWire
from serving.remote.wire import NOTHING, Answer, Listed, Told

X = Tensor("x", "FP32", (1,), np.ones(1, np.float32))


@pytest.mark.parametrize(
    ("model", "version", "path"),
    [("m", "", "/v2/models/m"), ("a/b ?", "1/2", "/v2/models/a%2Fb%20%3F/versions/1%2F2")],
)
def test_names_are_quoted_in_paths(model, version, path):
    wire = HttpWire(binary=False)
    assert wire.metadata(model, version).path == path
    assert wire.ready(model, version).path == path + "/ready"
    assert wire.config(model, version).path == path + "/config"
    assert wire.infer(model, version, NOTHING, [X]).path == path + "/infer"


@pytest.mark.parametrize("binary", [True, False])
def test_binary_is_asked_for_where_it_is_known(binary):
    call = HttpWire(binary).infer("m", "", NOTHING, [X])
    length = int(call.headers.get(LENGTH, len(call.body)))
    said = json.loads(call.body[:length])
    assert call.body[length:] == (X.data.tobytes() if binary else b"")
    assert said.get("parameters") == ({"binary_data_output": True} if binary else None)
    assert ("data" in said["inputs"][0]) is not binary


@pytest.mark.parametrize("binary", [True, False])
def test_parameters_of_the_client_are_passed_on(binary):
    forward = Passthrough({"timeout": 9}, {"x": {"own": 1}})
    other = Tensor("z", "INT8", (1,), np.ones(1, np.int8))
    call = HttpWire(binary).infer("m", "", forward, [X, other])
    said = json.loads(call.body[: int(call.headers.get(LENGTH, len(call.body)))])
    more = {"binary_data_output": True} if binary else {}
    assert said["parameters"] == {"timeout": 9, **more}
    sizes = [{"binary_data_size": size} if binary else {} for size in (4, 1)]
    assert said["inputs"][0]["parameters"] == {"own": 1, **sizes[0]}
    assert said["inputs"][1].get("parameters", {}) == sizes[1]
    assert ("parameters" in said["inputs"][1]) is binary


@pytest.mark.parametrize(
    ("body", "ready"),
    [(b"", True), (b'{"ready": true}', True), (b'{"Ready" : False}', False), (b"x", True)],
)
def test_readiness(body, ready):
    assert HttpWire(binary=False).read_ready(Answer(body)) is ready


def test_what_is_not_told_is_empty():
    wire = HttpWire(binary=False)
    assert wire.read_index(Answer(b'[{"name":"m","state":null}]')) == [Listed("m")]
    assert wire.read_config(Answer(b"{}")) == Told()
    told = wire.read_metadata(Answer(b'{"name":"m","inputs":null}'))
    assert (told.versions, told.inputs, told.outputs) == ((), (), ())


def binary_answer(*outputs, behind):
    head = json.dumps({"outputs": outputs}).encode()
    return Answer(head + bytes(behind), len(head))


def binary_output(size, datatype="FP32", **more):
    parameters = {"binary_data_size": size}
    return {"name": "y", "datatype": datatype, "shape": [1], "parameters": parameters, **more}


@pytest.mark.parametrize(
    ("size", "behind", "why"),
    [
        ("4", 4, "is no number of bytes"),
        (1.5, 4, "is no number of bytes"),
        ([4], 4, "is no number of bytes"),
        (-1, 5, "is no number of bytes"),
        (2**70, 4, "only 4 bytes are left"),
        (5, 4, "only 4 bytes are left"),
        (3, 3, "needs 4 bytes, not 3"),
        (5, 5, "needs 4 bytes, not 5"),
        (4, 5, "1 bytes are left after the last"),
    ],
)
def test_wrong_sizes_of_binary_outputs(size, behind, why):
    with pytest.raises(ModelFailed, match=f"answer cannot be read: .*{why}"):
        HttpWire(binary=True).read_infer(binary_answer(binary_output(size), behind=behind))


def test_true_is_no_size_of_a_binary_output():
    with pytest.raises(ModelFailed, match="is no number of bytes"):
        HttpWire(binary=True).read_infer(binary_answer(binary_output(True, "INT8"), behind=1))


def test_an_output_has_data_or_a_size():
    with pytest.raises(ModelFailed, match="both data and binary_data_size"):
        HttpWire(binary=True).read_infer(binary_answer(binary_output(4, data=[1.0]), behind=4))


def test_binary_outputs_follow_each_other():
    first, second = binary_output(4), binary_output(1, "INT8", name="z")
    read = HttpWire(binary=True).read_infer(binary_answer(first, second, behind=5))
    assert [tensor.data.nbytes for tensor in read.tensors] == [4, 1]
    assert [tensor.parameters for tensor in read.tensors] == [None, None]


@pytest.mark.parametrize(
    ("told", "version"), [("", ""), ('"model_version":null,', ""), ('"model_version":7,', "7")]
)
def test_servers_write_no_version_or_a_number(told, version):
    body = f'{{"model_name":"m",{told}"outputs":[]}}'.encode()
    assert HttpWire(binary=False).read_infer(Answer(body)).version == version


def test_null_in_an_answer_is_nan():
    output = {"name": "y", "datatype": "FP64", "shape": [2, 2], "data": [[1.5, None], [None, 2]]}
    body = json.dumps({"outputs": [output]}).encode()
    (got,) = HttpWire(binary=False).read_infer(Answer(body)).tensors
    np.testing.assert_array_equal(got.data, [[1.5, np.nan], [np.nan, 2]])
