"""`TorchModel`: the contract of a model, fulfilled by any callable on torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from serving.config import ConfigError
from serving.errors import Unsupported
from serving.models.batch_model import BatchModel
from serving.models.contract import Capabilities, Prediction
from serving.models.repository.folder import ModelEntry
from serving.models.torch.array_conversion import OutputReader, is_dense, to_torch
from serving.models.torch.tensor_names import Run
from serving.protocol.datatypes import FLOATING


class TorchModel(BatchModel):
    """One loaded version on a CPU; built by the loader of each format.

    Whether a row comes out the same in every batch is for the module to see to. Kernels choose
    their order of summation by batch size: on one CPU thread a small float32 perceptron with a
    confident softmax moved a row by up to 85 units in the last place, a convolutional network
    by 134. A module that computes in float64 and rounds its outputs to float32 moves it by 0,
    whatever the kernels do, and at batch 1 costs a few microseconds more (the convolution at
    batch 64: twice as much). Padding every batch to a multiple of four rows helped as well, but
    only by luck of the kernels, and made single rows three times as slow; so nothing is padded
    here (`serving/models/torch/buckets.py` pads for compiled graphs, which are made for a size).

    Args:
        entry: what is served; sensitive inputs of its configuration never reach the model.
        run: the forward pass; returns the outputs in the order of `model.yaml`.
        run_with_features: the same, returning `(outputs, features)`; None if it cannot.
        make_module: builds a new module, private to the caller, that returns the first output.
        is_graph: it does the same with every batch; code may write to its inputs now and then.

    Raises:
        ConfigError: an input or output is declared that torch cannot have.
    """

    def __init__(
        self,
        entry: ModelEntry,
        run: Run,
        run_with_features: Run | None,
        make_module: Callable[[], torch.nn.Module],
        *,
        is_graph: bool = False,
    ) -> None:
        inputs = [spec for spec in entry.config.inputs if not spec.sensitive]
        floating = all(spec.datatype in FLOATING for spec in inputs)
        super().__init__(
            entry,
            Capabilities(
                features=run_with_features is not None, module=floating, differentiable=floating
            ),
        )
        self._run = run
        self._run_with_features = _pair(run_with_features) if run_with_features else None
        self._make_module = make_module
        self._inputs = [(spec.name, to_torch(spec)) for spec in inputs]
        self._outputs = [OutputReader(entry.name, spec) for spec in entry.config.outputs]
        self._is_graph = is_graph
        self._reads_only: set[bool] = set()
        """Passes of a graph, without and with features, that have not written to their inputs."""

    def module(self) -> torch.nn.Module:
        """Return a new module of the caller's own; see `Model.module`.

        Raises:
            Unsupported: an input is not floating point, so there is nothing to differentiate.
        """
        if not self._capabilities.module:
            raise Unsupported(
                f"model '{self._name}' gives no module: not all of its inputs are floating point"
            )
        module = self._make_module()
        forward = module.forward

        def guarded(*inputs: torch.Tensor) -> Any:
            return self._guarded(forward, *inputs, rows=inputs[0].shape[0])

        module.forward = guarded
        return module

    def _compute(self, arrays: dict[str, np.ndarray], rows: int, *, features: bool) -> Prediction:
        run = self._run_with_features if features else self._run
        assert run is not None
        shared = features in self._reads_only
        if not shared:
            arrays = {name: array.copy() for name, array in arrays.items()}
        tensors = self._tensors(arrays)
        result = self._guarded(_infer, run, tensors, rows=rows)
        # Torch counts writes to a tensor, so one that worked in place shows here.
        if self._is_graph and not shared and not any(tensor._version for tensor in tensors):
            self._reads_only.add(features)
        return _copied(self._read(result, rows, features=features))

    def _tensors(self, arrays: dict[str, np.ndarray]) -> list[torch.Tensor]:
        return [make(arrays[name]) for name, make in self._inputs]

    def _read(self, result: Any, rows: int, *, features: bool) -> Prediction:
        outputs, penultimate = result if features else (result, None)
        values: Sequence[Any] = outputs if isinstance(outputs, tuple | list) else (outputs,)
        if len(values) != len(self._outputs):
            raise self._failed(
                f"it returned {len(values)} outputs, model.yaml declares {len(self._outputs)}"
            )
        pairs = zip(self._outputs, values, strict=True)
        arrays = {reader.name: reader.read(value, rows) for reader, value in pairs}
        if not features:
            return Prediction(arrays)
        if (
            not isinstance(penultimate, torch.Tensor)
            or not is_dense(penultimate)
            or penultimate.ndim != 2
            or penultimate.shape[0] != rows
        ):
            raise self._failed("features must be one dense tensor [rows, width]")
        return Prediction(arrays, penultimate.to(torch.float32).cpu().resolve_neg().numpy())

    def _why_no_features(self) -> str:
        return (
            "its module needs a method forward_with_features(*inputs) that returns "
            "(outputs, features)"
        )


class FirstOutput(torch.nn.Module):
    """Wraps a module whose first output is to be explained.

    Args:
        inner: the module.
        run: calls it with the inputs in the order of `model.yaml`; returns a tensor, or several
            of which the first is the first output of `model.yaml`.
    """

    def __init__(self, inner: torch.nn.Module, run: Run) -> None:
        super().__init__()
        self.inner = inner
        self.training = False
        self._run = run

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Run the wrapped module and return its first output."""
        result = self._run(*inputs)
        first: torch.Tensor = result[0] if isinstance(result, tuple | list) else result
        return first

    def train(self, mode: bool = True) -> FirstOutput:
        """Stay in inference mode: exported programs have no other, and nothing trains here."""
        if mode:
            raise Unsupported("a served model's private copy stays in inference mode")
        return self


def resolve_device(name: str) -> torch.device:
    """Return the device that `name` (auto, cpu, cuda, cuda:1, ...) stands for.

    Raises:
        ConfigError: the name is unknown, or a GPU is asked for and torch sees none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device '{name}': use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device '{name}': torch sees no GPU; use auto or cpu")
    return device


def _pair(run: Run) -> Run:
    def checked(*tensors: torch.Tensor) -> tuple[Any, torch.Tensor]:
        result = run(*tensors)
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise TypeError("forward_with_features must return (outputs, features)")
        outputs, features = result
        return outputs, features

    return checked


def _copied(found: Prediction) -> Prediction:
    """Return the results in memory of their own; a module's buffers are used again."""
    outputs = {name: array.copy() for name, array in found.outputs.items()}
    return Prediction(outputs, None if found.features is None else found.features.copy())


def _infer(run: Run, tensors: list[torch.Tensor]) -> Any:
    with torch.inference_mode():
        return run(*tensors)
