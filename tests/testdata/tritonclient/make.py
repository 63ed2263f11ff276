"""Writes the payloads beside this file: what tritonclient sends, byte for byte.

Kept as files so that a new tritonclient cannot hide a change of ours, or of its own.
"""

import json
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.grpc._utils import _get_inference_request

HERE = Path(__file__).parent
FLOATS = np.array([[0.5, -1.25, 3.0]], dtype=np.float32)
TEXTS = np.array([["red", "grün"]], dtype=np.object_)
FLAGS = np.array([[True], [False]])


def http_inputs(binary):
    arrays = {"x": (FLOATS, "FP32"), "colour": (TEXTS, "BYTES"), "flag": (FLAGS, "BOOL")}
    inputs = []
    for name, (array, datatype) in arrays.items():
        one = triton_http.InferInput(name, list(array.shape), datatype)
        one.set_data_from_numpy(array, binary_data=binary)
        inputs.append(one)
    return inputs


def grpc_inputs():
    arrays = {"x": (FLOATS, "FP32"), "colour": (TEXTS, "BYTES"), "flag": (FLAGS, "BOOL")}
    inputs = []
    for name, (array, datatype) in arrays.items():
        one = triton_grpc.InferInput(name, list(array.shape), datatype)
        one.set_data_from_numpy(array)
        inputs.append(one)
    return inputs


def main():
    lengths = {}
    for name, binary in (("http_binary", True), ("http_json", False)):
        outputs = [triton_http.InferRequestedOutput("y", binary_data=binary)]
        body, lengths[name] = triton_http.InferenceServerClient.generate_request_body(
            http_inputs(binary), outputs=outputs, request_id="golden", timeout=5000
        )
        (HERE / f"{name}.bin").write_bytes(body)
    message = _get_inference_request(
        model_name="m",
        inputs=grpc_inputs(),
        model_version="1",
        request_id="golden",
        outputs=[triton_grpc.InferRequestedOutput("y")],
        sequence_id=0,
        sequence_start=False,
        sequence_end=False,
        priority=0,
        timeout=5000,
        parameters=None,
    )
    (HERE / "grpc.bin").write_bytes(message.SerializeToString(deterministic=True))
    (HERE / "json_lengths.json").write_text(json.dumps(lengths) + "\n")


if __name__ == "__main__":
    main()
