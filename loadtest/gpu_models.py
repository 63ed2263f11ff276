"""Model folders for `loadtest.gpu`: one per network, precision and way to compute."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml

from loadtest import gpu_nets
from serving.models.export import save_safetensors

BATCHES = (1, 8, 64, 256)
PRECISIONS = ("fp32", "bf16", "fp16")
WAYS = ("none", "cuda-graphs", "default")
"""Values of `compile`: kernel by kernel; captured; compiled and captured."""

NETS: dict[str, tuple[Callable[[], torch.nn.Module], tuple[int, ...]]] = {
    "perceptron": (gpu_nets.perceptron, (256,)),
    "convolutions": (gpu_nets.convolutions, (3, 64, 64)),
    "transformer": (gpu_nets.transformer, (64, 256)),
}
"""Networks and the shape of a row."""

_SOURCE = Path(gpu_nets.__file__)


@dataclass(frozen=True, slots=True)
class Case:
    """One replica to measure; `device` is cuda, or cpu for a rehearsal."""

    net: str
    precision: str
    way: str
    device: str

    @property
    def name(self) -> str:
        """Name of the model's folder."""
        return f"{self.net}-{self.precision}-{self.way}"


def cases(device: str, nets: Sequence[str], precisions: Sequence[str]) -> Iterator[Case]:
    """Give what to measure on `device`; a CPU captures nothing."""
    ways = [way for way in WAYS if device != "cpu" or way != "cuda-graphs"]
    for net, precision, way in itertools.product(nets, precisions, ways):
        yield Case(net, precision, way, device)


def network(net: str) -> torch.nn.Module:
    """Return the network with weights of a fixed seed, in inference mode."""
    torch.manual_seed(20_240)
    return NETS[net][0]().eval().requires_grad_(requires_grad=False)


def rows(net: str, count: int) -> np.ndarray:
    """Return `count` float32 rows of noise."""
    random = np.random.default_rng(1)
    return random.normal(size=(count, *NETS[net][1])).astype(np.float32)


def build(case: Case, root: Path, batches: Sequence[int]) -> None:
    """Write the model's folder below `root`."""
    folder = root / case.name
    folder.mkdir(parents=True, exist_ok=True)
    save_safetensors(network(case.net), folder / "1", _SOURCE)
    shape = list(NETS[case.net][1])
    batching: dict[str, object] = {"max_batch_size": max(batches)}
    if case.way != "none":
        batching["buckets"] = list(batches)
    config = {
        "format": "safetensors",
        "factory": f"{_SOURCE.stem}:{case.net}",
        "trust_code": True,
        "precision": case.precision,
        "compile": case.way,
        # Wide: what it really is stands among the results.
        "precision_tolerance": 0.1,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, *shape]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}],
        "example": "example.json",
        "replicas": {"device": case.device},
        "batching": batching,
        "explain": None,
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    tensor = {"name": "x", "shape": [1, *shape], "datatype": "FP32"}
    example = {"inputs": [{**tensor, "data": rows(case.net, 1).ravel().tolist()}]}
    (folder / "example.json").write_text(json.dumps(example))
