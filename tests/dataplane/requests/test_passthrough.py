"""What is passed on to other servers, and which requests may then share a batch."""

import msgspec
import numpy as np
import pytest

from serving.channel.messages.inference import Passthrough
from serving.dataplane.requests.binding import Binder
from serving.protocol.messages import InferRequest, Tensor


@pytest.fixture
def bind(make_config):
    def bind(parameters=None, shape=(1, 2), tensor_parameters=None, **remote):
        section = {"url": "grpc://127.0.0.1:1", **remote}
        binder = Binder("m", make_config(format="remote", remote=section))
        tensor = Tensor("x", "FP32", shape, np.ones(shape, np.float32), tensor_parameters)
        return binder.bind(InferRequest("m", "", "id", (tensor,), (), parameters))

    return bind


def test_parameters_for_this_server_stay_here(bind):
    bound = bind({"timeout": 5, "binary_data_output": True, "priority": 1})
    assert msgspec.msgpack.decode(bound.forward, type=Passthrough).parameters == {"priority": 1}
    assert bind({"timeout": 5}).forward == b""
    # Triton itself refuses this one over HTTP; it is about the client's stream to us.
    assert bind({"triton_enable_empty_final_response": True}).forward == b""


def test_equal_parameters_share_a_batch(bind):
    assert bind({"a": 1, "b": 2}).key == bind({"b": 2, "a": 1}).key
    assert bind({"a": 1}).key != bind({"a": 2}).key
    assert bind().key != bind(tensor_parameters={"content_type": "np"}).key


@pytest.mark.parametrize(
    ("parameters", "remote", "alone"),
    [
        (None, {}, False),
        ({"priority": 1}, {}, False),
        ({"sequence_id": 7}, {}, True),
        (None, {"join": False}, True),
    ],
)
def test_who_goes_alone(bind, parameters, remote, alone):
    assert bind(parameters, **remote).alone is alone


def test_a_request_without_row_axis_is_one_row(bind):
    bound = bind(shape=(2,), row_axis=False)
    assert bound.rows == 1
    assert bound.alone  # its tensors have no axis along which another could join
    assert bound.arrays[0].shape == (1, 2)
