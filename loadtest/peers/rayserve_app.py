"""Plain Ray Serve with `serve.batch`, as its documentation teaches it; run as a script.

`python rayserve_app.py WEIGHTS.npz HTTP_PORT TEMP_DIR` starts a Ray of its own and serves until
SIGTERM. The body is parsed with orjson and the answer is made as bytes: no framework beside
Serve slows it down.
"""

from __future__ import annotations

import signal
import sys
import threading

import numpy as np
import orjson
import ray
import torch
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(max_ongoing_requests=1024, ray_actor_options={"num_cpus": 1})
class Mlp:
    """The model and its batcher in one replica."""

    def __init__(self, path: str) -> None:
        torch.set_num_threads(1)
        saved = np.load(path)
        layers: list[torch.nn.Module] = []
        for index in range(3):
            weight = torch.from_numpy(saved[f"{index}.weight"])
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
            linear.load_state_dict(
                {"weight": weight, "bias": torch.from_numpy(saved[f"{index}.bias"])}
            )
            layers += [linear, torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers[:-1], torch.nn.Softmax(dim=1)).eval()

    # No wait: a batch is what queued up while the last one ran. With the default of 10 ms a
    # single connection could never see less than 10 ms.
    @serve.batch(max_batch_size=256, batch_wait_timeout_s=0.0)
    async def predict(self, requests: list[np.ndarray]) -> list[np.ndarray]:
        """Answer all waiting requests from one forward pass."""
        with torch.inference_mode():
            answers = self.net(torch.from_numpy(np.concatenate(requests))).numpy()
        return np.split(answers, np.cumsum([len(rows) for rows in requests])[:-1])

    async def __call__(self, request: Request) -> Response:
        """Answer one OIP request in JSON."""
        if request.method == "GET":
            return Response(b"{}", media_type="application/json")
        tensor = orjson.loads(await request.body())["inputs"][0]
        x = np.asarray(tensor["data"], dtype=np.float32).reshape(tensor["shape"])
        answer = await self.predict(x)
        output = {
            "name": "probabilities",
            "datatype": "FP32",
            "shape": answer.shape,
            "data": np.ascontiguousarray(answer.ravel()),
        }
        message = {"model_name": "mlp", "model_version": "1", "outputs": [output]}
        data = orjson.dumps(message, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(data, media_type="application/json")


def main(weights: str, port: str, temporary: str) -> None:
    """Serve until SIGTERM, then shut this Ray down."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    # `local` never joins a Ray that is there already.
    ray.init(address="local", _temp_dir=temporary, num_cpus=8, include_dashboard=False)
    signal.signal(signal.SIGTERM, lambda *_: ended.set())  # ray.init installs its own
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    serve.run(Mlp.bind(weights), route_prefix="/")  # type: ignore[attr-defined]
    print("serving", flush=True)
    ended.wait()
    serve.shutdown()  # type: ignore[no-untyped-call]
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
