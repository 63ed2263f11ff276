"""The one model every contender serves, its request bodies and its right answers.

An MLP 30-64-64-2 with softmax: small on purpose, so that the race measures the server and not
the matrix product. Weights come from a fixed seed; answers are computed here in float64.
"""

from __future__ import annotations

import itertools
import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MODEL = "mlp"
INPUT, OUTPUT = "x", "probabilities"
WIDTHS = (30, 64, 64, 2)
SEED = 20_240
INFER_PATH = f"/v2/models/{MODEL}/infer"
GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"


def weights() -> dict[str, np.ndarray]:
    """Return `{"0.weight": [64, 30], "0.bias": [64], ...}`, float32, in torch's layout."""
    rng = np.random.default_rng(SEED)
    made: dict[str, np.ndarray] = {}
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(WIDTHS)):
        scale = np.sqrt(2 / fan_in)
        made[f"{layer}.weight"] = (rng.normal(size=(fan_out, fan_in)) * scale).astype(np.float32)
        made[f"{layer}.bias"] = (rng.normal(size=fan_out) * 0.1).astype(np.float32)
    return made


def save_weights(path: Path) -> None:
    """Write the weights as an `.npz` that a peer's own process can load without this package."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **weights())  # type: ignore[arg-type]


def rows(count: int, seed: int = 1) -> np.ndarray:
    """Return `[count, 30]` float32 rows with four decimals, like a body of real measurements."""
    return np.random.default_rng(seed).normal(size=(count, WIDTHS[0])).round(4).astype(np.float32)


def expected(x: np.ndarray) -> np.ndarray:
    """Return the right probabilities `[rows, 2]` for `x` `[rows, 30]`, computed in float64."""
    made = weights()
    hidden = x.astype(np.float64)
    last = len(WIDTHS) - 2
    for layer in range(last + 1):
        hidden = hidden @ made[f"{layer}.weight"].T.astype(np.float64) + made[f"{layer}.bias"]
        if layer < last:
            hidden = np.maximum(hidden, 0)
    powers = np.exp(hidden - hidden.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@dataclass(frozen=True, slots=True)
class Body:
    """One request as bytes, with the headers that say what they are."""

    data: bytes
    headers: dict[str, str]


def json_body(x: np.ndarray) -> Body:
    """Return an OIP JSON request with the rows of `x`."""
    values = [round(float(value), 4) for value in x.ravel()]
    tensor = {"name": INPUT, "shape": list(x.shape), "datatype": "FP32", "data": values}
    data = json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()
    return Body(data, {"Content-Type": "application/json"})


def binary_body(x: np.ndarray, name: str = INPUT, ident: str = "") -> Body:
    """Return an OIP request in the binary tensor extension that asks for a binary answer.

    Args:
        x: the rows.
        name: of the input.
        ident: of the request; empty: it has none.
    """
    raw = np.ascontiguousarray(x, dtype="<f4").tobytes()
    tensor = {
        "name": name,
        "shape": list(x.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(raw)},
    }
    message: dict[str, object] = {"id": ident} if ident else {}
    message |= {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    head = json.dumps(message, separators=(",", ":")).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }
    return Body(head + raw, headers)


def grpc_message(x: np.ndarray, ident: str = "") -> bytes:
    """Return a serialized `ModelInferRequest` with raw input contents."""
    from tritonclient.grpc import service_pb2  # loads the protobuf runtime: only when needed

    request = service_pb2.ModelInferRequest(model_name=MODEL, id=ident)
    request.inputs.add(name=INPUT, datatype="FP32", shape=list(x.shape))
    request.raw_input_contents.append(np.ascontiguousarray(x, dtype="<f4").tobytes())
    return bytes(request.SerializeToString())


def grpc_frame(message: bytes) -> bytes:
    """Prefix `message` as gRPC does on the wire: one flag byte, then the length."""
    return struct.pack(">BI", 0, len(message)) + message
