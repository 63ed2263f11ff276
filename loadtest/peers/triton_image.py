"""The image model as Triton's Python backend runs it; copied into the repository as `model.py`."""

from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    """The interface the backend looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Compute on one thread."""
        torch.set_num_threads(1)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request of the batch from one forward pass."""
        inputs = [pb_utils.get_input_tensor_by_name(r, "pixels").as_numpy() for r in requests]
        joined = inputs[0] if len(inputs) == 1 else np.concatenate(inputs)
        with torch.inference_mode():
            answers = torch.from_numpy(joined).mean((2, 3)).numpy()
        responses, start = [], 0
        for rows in inputs:
            part = pb_utils.Tensor("means", answers[start : start + len(rows)])
            responses.append(pb_utils.InferenceResponse([part]))
            start += len(rows)
        return responses
