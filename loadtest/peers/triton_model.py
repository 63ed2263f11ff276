"""The model as Triton's Python backend runs it; copied into the repository as `model.py`.

One forward pass for all requests of a batch, on one thread: what a careful user would write.
"""

import json
from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    """The interface the backend looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the weights named in the model's parameters."""
        torch.set_num_threads(1)
        parameters = json.loads(args["model_config"])["parameters"]
        saved = np.load(parameters["weights"]["string_value"])
        layers = []
        for index in range(3):
            weight = torch.from_numpy(saved[f"{index}.weight"])
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
            linear.load_state_dict(
                {"weight": weight, "bias": torch.from_numpy(saved[f"{index}.bias"])}
            )
            layers += [linear, torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers[:-1], torch.nn.Softmax(dim=1)).eval()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request of the batch from one forward pass."""
        inputs = [pb_utils.get_input_tensor_by_name(r, "x").as_numpy() for r in requests]
        joined = inputs[0] if len(inputs) == 1 else np.concatenate(inputs)
        with torch.inference_mode():
            answers = self.net(torch.from_numpy(joined)).numpy()
        responses, start = [], 0
        for rows in inputs:
            part = pb_utils.Tensor("probabilities", answers[start : start + len(rows)])
            responses.append(pb_utils.InferenceResponse([part]))
            start += len(rows)
        return responses
