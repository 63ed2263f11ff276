import json
import struct

import numpy as np

from loadtest import mlp


def test_rows_survive_the_json_body_exactly():
    x = mlp.rows(3)
    tensor = json.loads(mlp.json_body(x).data)["inputs"][0]
    assert np.array_equal(np.array(tensor["data"], np.float32).reshape(tensor["shape"]), x)


def test_binary_body_is_header_then_values():
    x = mlp.rows(2)
    body = mlp.binary_body(x)
    head = int(body.headers["Inference-Header-Content-Length"])
    size = json.loads(body.data[:head])["inputs"][0]["parameters"]["binary_data_size"]
    assert len(body.data) == head + size
    assert np.array_equal(np.frombuffer(body.data[head:], "<f4").reshape(x.shape), x)


def test_grpc_frame_is_flag_and_length():
    frame = mlp.grpc_frame(b"abc")
    assert struct.unpack(">BI", frame[:5]) == (0, 3)
    assert frame[5:] == b"abc"


def test_answers_are_probabilities_that_depend_on_the_row():
    answers = mlp.expected(mlp.rows(8))
    assert np.allclose(answers.sum(axis=1), 1)
    assert np.ptp(answers[:, 0]) > 0.1
