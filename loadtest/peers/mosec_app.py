"""The raced model as a worker of mosec; run as a script by mosec's own environment.

One forward pass for all requests of a batch, on one thread; bodies are parsed by msgspec into
structs, which is the quickest way that mosec's documentation shows. `WEIGHTS` names the weights.
"""

from __future__ import annotations

import os

import msgspec
import numpy as np
import torch
from mosec import Runtime, Server, Worker  # type: ignore[import-not-found]

PATH = "/v2/models/mlp/infer"


class Tensor(msgspec.Struct):
    """A tensor as JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(msgspec.Struct):
    """A request as JSON."""

    inputs: list[Tensor]
    id: str | None = None


class Answer(msgspec.Struct, omit_defaults=True):
    """An answer as JSON."""

    model_name: str
    model_version: str
    outputs: list[Tensor]
    id: str | None = None


class Mlp(Worker):  # type: ignore[misc]
    """The model."""

    def __init__(self) -> None:
        super().__init__()
        torch.set_num_threads(1)
        saved = np.load(os.environ["WEIGHTS"])
        layers: list[torch.nn.Module] = []
        for index in range(3):
            weight = torch.from_numpy(saved[f"{index}.weight"])
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
            linear.load_state_dict(
                {"weight": weight, "bias": torch.from_numpy(saved[f"{index}.bias"])}
            )
            layers += [linear, torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers[:-1], torch.nn.Softmax(dim=1)).eval()
        self.decoder = msgspec.json.Decoder(Request)
        self.encoder = msgspec.json.Encoder()

    def deserialize(self, data: bytes) -> Request:
        """Parse a body."""
        return self.decoder.decode(data)

    def serialize(self, data: Answer) -> bytes:
        """Write an answer."""
        return self.encoder.encode(data)

    def forward(self, data: list[Request]) -> list[Answer]:
        """Answer all requests of a batch from one forward pass."""
        rows = [
            np.asarray(request.inputs[0].data, np.float32).reshape(request.inputs[0].shape)
            for request in data
        ]
        with torch.inference_mode():
            answers = self.net(torch.from_numpy(np.concatenate(rows))).numpy()
        parts = np.split(answers, np.cumsum([len(part) for part in rows])[:-1])
        return [
            Answer(
                "mlp", "1",
                [Tensor("probabilities", list(part.shape), "FP32", part.ravel().tolist())],
                request.id,
            )
            for request, part in zip(data, parts, strict=True)
        ]  # fmt: skip


if __name__ == "__main__":
    server = Server()
    # 1 ms is the shortest wait that mosec knows, as Triton's in its second setting.
    runtime = Runtime(Mlp, num=1, max_batch_size=256, max_wait_time=1)
    server.register_runtime({PATH: [runtime]})
    server.run()
