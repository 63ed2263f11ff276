"""Not a test: writes the model `lab`, which does to its process what a request tells it."""

from pathlib import Path

import torch

from serving.models.export import save_files, save_safetensors

LAB_NET = '''
"""A model for tests: y = softmax(x W), sleeps x[:, 1] milliseconds, raises when x[:, 0] is 666.

Where x[:, 0] is a key of `DEADLY`, the process ends.

Where x[:, 1] is -1, -2 and so on, it waits for as long as a file `hold1`, `hold2` and so on lies
beside model.yaml; `held1` says that it has begun to wait.
"""
import ctypes
import os
import signal
import time
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1]
LONGEST_S = 300
DEADLY = {
    667: lambda: os._exit(3),
    668: lambda: ctypes.string_at(0),
    669: lambda: os.kill(os.getpid(), signal.SIGKILL),
}


def hold(gate):
    closed = FOLDER / f"hold{gate}"
    until = time.monotonic() + LONGEST_S
    while closed.exists() and time.monotonic() < until:
        (FOLDER / f"held{gate}").touch()
        time.sleep(0.005)


def behave(x):
    if not len(x):
        return
    if (x[:, 0] == 666).any():
        raise ValueError("poison row")
    for value, end in DEADLY.items():
        if (x[:, 0] == value).any():
            end()
    if x[:, 1].max() > 0:
        time.sleep(float(x[:, 1].max()) / 1000)
    if x[:, 1].min() <= -1:
        hold(-int(x[:, 1].min()))
'''
LAB_PYTHON = (
    LAB_NET
    + """

class Lab:
    weights = np.random.default_rng(0).uniform(-0.5, 0.5, (4, 3)).astype(np.float32)

    def predict(self, inputs):
        x = inputs["x"]
        behave(x)
        scores = np.exp(x @ self.weights - (x @ self.weights).max(1, keepdims=True))
        return {"y": scores / scores.sum(1, keepdims=True)}


def build():
    return Lab()
"""
)
LAB_TORCH = (
    LAB_NET
    + """
import torch


class Lab(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x):
        behave(x.cpu().numpy())
        return torch.softmax(self.linear(x), 1)


def build():
    return Lab()
"""
)

LAB_CONFIG = """
format: {format}
factory: net:build
trust_code: true
inputs:
  - {{name: x, datatype: FP32, shape: [-1, 4]}}
outputs:
  - {{name: y, datatype: FP32, shape: [-1, 3]}}
replicas: {{min: {replicas}, hang_timeout_s: {hang_timeout_s}}}
batching: {{max_queue_rows: {max_queue_rows}}}
monitors: {{drift: null}}
explain: null
"""


def write(
    root: Path,
    replicas: int = 1,
    hang_timeout_s: float = 30,
    max_queue_rows: int = 4096,
    *,
    of_torch: bool = False,
) -> Path:
    """Write a repository with `lab` into `root` and return it.

    It is a class in Python, or weights for torch: an instance without any model of torch starts in
    half the time.
    """
    source, version = root / "net.py", root / "models" / "lab" / "1"
    source.write_text(LAB_TORCH if of_torch else LAB_PYTHON)
    version.parent.mkdir(parents=True)
    (version.parent / "model.yaml").write_text(
        LAB_CONFIG.format(
            format="safetensors" if of_torch else "python",
            replicas=replicas,
            hang_timeout_s=hang_timeout_s,
            max_queue_rows=max_queue_rows,
        )
    )
    if of_torch:
        torch.manual_seed(0)
        network = torch.nn.Module()
        network.linear = torch.nn.Linear(4, 3)
        save_safetensors(network, version, source)
    else:
        save_files(version, source)
    return root / "models"
