"""Real clients that check a contender's answers, value by value, before and after a round.

The load generators count statuses; only this sees a wrong probability or a `grpc-status` in a
trailer.
"""

from __future__ import annotations

import http.client
import json
import random
from typing import Literal

import numpy as np

from loadtest import image, mlp
from loadtest import unique as own
from loadtest.process import Server, ServerError

Protocol = Literal["json", "binary", "grpc", "image"]
"""How a request travels; `image` is the binary extension with a tensor of 600 kB."""
TOLERANCE = 1e-5


def check(
    server: Server, protocol: Protocol, batch: int = 1, seed: int = 7, unique: bool = False
) -> int:
    """Send one request of `batch` rows and compare; return the size of the answer in bytes.

    The size is what the generator should see per answer: an error is shorter or longer. `unique`:
    the request has an id and headers of its own.

    Raises:
        ServerError: no answer, an error, or a probability off by more than `TOLERANCE`.
    """
    model = image if protocol == "image" else mlp
    x = model.rows(batch, seed)
    try:
        answer, size = _ask(server, protocol, x, random.Random(seed) if unique else None)
    except ServerError:
        raise
    except Exception as error:
        raise ServerError(f"{server.name}, {protocol}: {error!r}") from error
    right = model.expected(x)
    if answer.shape != right.shape or not np.allclose(answer, right, atol=TOLERANCE):
        raise ServerError(f"{server.name}, {protocol}: answered {answer} instead of {right}")
    return size


def request(protocol: Protocol, x: np.ndarray) -> tuple[str, mlp.Body]:
    """Return path and body of an HTTP request for the rows `x`."""
    if protocol == "image":
        return image.INFER_PATH, image.binary_body(x)
    return mlp.INFER_PATH, mlp.json_body(x) if protocol == "json" else mlp.binary_body(x)


def _ask(
    server: Server, protocol: Protocol, x: np.ndarray, generator: random.Random | None
) -> tuple[np.ndarray, int]:
    if protocol == "grpc":
        return _ask_grpc(server, x, generator)
    path, body = request(protocol, x)
    if generator:
        if protocol == "json":
            body = own.json_body(x, generator, least_digits=17)  # as they are, to be compared
        else:
            body = own.binary_body(x, generator)
        body.headers.update(own.identity(generator))
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=30)
    try:
        connection.request("POST", path, body.data, body.headers)
        response = connection.getresponse()
        data = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise ServerError(f"{server.name}, {protocol}: {response.status} {data[:300]!r}")
    head = int(response.headers.get("Inference-Header-Content-Length") or len(data))
    output = json.loads(data[:head])["outputs"][0]
    if protocol == "json":
        values = np.asarray(output["data"], dtype=np.float64)
    else:
        values = np.frombuffer(data[head:], dtype="<f4")
    return values.reshape(output["shape"]), len(data)


def _ask_grpc(
    server: Server, x: np.ndarray, generator: random.Random | None
) -> tuple[np.ndarray, int]:
    import grpc
    from tritonclient.grpc import service_pb2

    message, metadata = mlp.grpc_message(x), {}
    if generator:
        message, metadata = own.unique_message(x, generator), own.identity(generator)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary(mlp.GRPC_PATH, None, None)  # bytes in, bytes out
        data = call(message, timeout=30, metadata=tuple(metadata.items()))
    response = service_pb2.ModelInferResponse.FromString(data)
    shape = list(response.outputs[0].shape)
    if response.raw_output_contents:
        values = np.frombuffer(response.raw_output_contents[0], dtype="<f4")
    else:
        values = np.asarray(response.outputs[0].contents.fp32_contents)
    return values.reshape(shape), len(mlp.grpc_frame(data))
