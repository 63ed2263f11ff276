"""`TorchModel`: the contract of a model, fulfilled by any callable on torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch

from serving.config import ConfigError
from serving.errors import InvalidInput, ModelFailed, Unsupported
from serving.models.contract import Capabilities, Prediction, Tensors
from serving.models.repository import ModelEntry
from serving.models.tensors import FLOATING, OutputReader, to_torch

Run = Callable[..., Any]
"""Takes the input tensors in the order of `model.yaml`; returns a tensor or several."""

MAX_MESSAGE: Final = 500


class TorchModel:
    """One loaded version on one device; built by the loader of each format.

    Whether a row comes out the same in every batch is for the module to see to. Kernels choose
    their order of summation by batch size: on one CPU thread a small float32 perceptron with a
    confident softmax moved a row by up to 85 units in the last place, a convolutional network
    by 134. A module that computes in float64 and rounds its outputs to float32 moves it by 0,
    whatever the kernels do, and at batch 1 costs a few microseconds more (the convolution at
    batch 64: twice as much). Padding every batch to a multiple of four rows helped as well, but
    only by luck of the kernels, and made single rows three times as slow; so nothing is padded
    here.

    Args:
        entry: what is served; sensitive inputs of its configuration never reach the model.
        device: where to compute.
        run: the forward pass; returns the outputs in the order of `model.yaml`.
        run_with_features: the same, returning `(outputs, features)`; None if it cannot.
        make_module: builds a new module, private to the caller, that returns the first output.

    Raises:
        ConfigError: an input or output is declared that torch cannot have.
    """

    def __init__(
        self,
        entry: ModelEntry,
        device: torch.device,
        run: Run,
        run_with_features: Run | None,
        make_module: Callable[[], torch.nn.Module],
    ) -> None:
        inputs = [spec for spec in entry.config.inputs if not spec.sensitive]
        self._name = entry.name
        self._device = device
        self._run = run
        self._run_with_features = _pair(run_with_features) if run_with_features else None
        self._make_module = make_module
        self._inputs = [(spec.name, to_torch(spec)) for spec in inputs]
        self._outputs = [OutputReader(entry.name, spec) for spec in entry.config.outputs]
        floating = all(spec.datatype in FLOATING for spec in inputs)
        self._capabilities = Capabilities(
            features=run_with_features is not None, module=floating, differentiable=floating
        )
        # Memory is shared with the caller only while the model is known not to write to it.
        self._writes_to_inputs = True

    @property
    def capabilities(self) -> Capabilities:
        """What this model offers beside `predict`."""
        return self._capabilities

    def predict(self, inputs: Tensors) -> Tensors:
        """Run a batch of n rows; see `Model.predict`. A batch of 0 rows gives 0 rows.

        Raises:
            InvalidInput: an input is missing.
            ModelFailed: the model raised, or its outputs are not what `model.yaml` declares.
        """
        tensors, rows = self._tensors(inputs)
        return self._read(self._call(self._run, tensors), rows)

    def predict_with_features(self, inputs: Tensors) -> Prediction:
        """Run a batch of n rows; features are float32 `[n, width]`.

        Raises:
            InvalidInput: an input is missing.
            ModelFailed: the model raised, or its outputs are not what `model.yaml` declares.
            Unsupported: the model has no `features` capability.
        """
        if self._run_with_features is None:
            raise Unsupported(
                f"model '{self._name}' gives no features: its module needs a method "
                f"forward_with_features(*inputs) that returns (outputs, features)"
            )
        tensors, rows = self._tensors(inputs)
        outputs, features = self._call(self._run_with_features, tensors)
        width_known = isinstance(features, torch.Tensor) and features.ndim == 2
        if not width_known or features.shape[0] != max(rows, 1):
            raise ModelFailed(
                f"model '{self._name}' failed: features must be one tensor [rows, width]"
            )
        values: np.ndarray = features.to(torch.float32).cpu().numpy()
        return Prediction(self._read(outputs, rows), values[:rows])

    def module(self) -> torch.nn.Module:
        """Return a new module of the caller's own; see `Model.module`.

        Raises:
            Unsupported: an input is not floating point, so there is nothing to differentiate.
        """
        if not self._capabilities.module:
            raise Unsupported(
                f"model '{self._name}' gives no module: not all of its inputs are floating point"
            )
        return self._make_module()

    def _tensors(self, inputs: Tensors) -> tuple[list[torch.Tensor], int]:
        try:
            arrays = [(inputs[name], make) for name, make in self._inputs]
        except KeyError as error:
            raise InvalidInput(f"model '{self._name}' needs the input {error}") from None
        rows = arrays[0][0].shape[0]
        if rows == 0:
            # Many modules reshape with -1 or reduce over rows and fail on none at all; one row
            # of zeros, thrown away again, gives the outputs their shapes.
            arrays = [(_zero_row(array), make) for array, make in arrays]
        if self._writes_to_inputs:
            arrays = [(array.copy(), make) for array, make in arrays]
        tensors = [make(array) for array, make in arrays]
        if self._device.type != "cpu":
            tensors = [tensor.to(self._device) for tensor in tensors]
        return tensors, rows

    def _call(self, run: Run, tensors: list[torch.Tensor]) -> Any:
        try:
            with torch.inference_mode():
                result = run(*tensors)
        except Exception as error:  # noqa: BLE001 - whatever a model raises is its failure
            message = " ".join(str(error).split())[:MAX_MESSAGE]
            raise ModelFailed(
                f"model '{self._name}' failed: {type(error).__name__}: {message}"
            ) from None
        # Torch counts writes to a tensor, so one that worked in place shows here. The counter
        # of a device copy says so too, which then only costs a copy that was not needed.
        self._writes_to_inputs = any(tensor._version for tensor in tensors)
        return result

    def _read(self, result: Any, rows: int) -> dict[str, np.ndarray]:
        values: Sequence[Any] = result if isinstance(result, tuple | list) else (result,)
        if len(values) != len(self._outputs):
            raise ModelFailed(
                f"model '{self._name}' failed: it returned {len(values)} outputs, model.yaml "
                f"declares {len(self._outputs)}"
            )
        computed = max(rows, 1)
        pairs = zip(self._outputs, values, strict=True)
        arrays = {reader.name: reader.read(value, computed) for reader, value in pairs}
        return arrays if rows else {name: array[:0] for name, array in arrays.items()}


class FirstOutput(torch.nn.Module):
    """Wraps a module that may return several outputs and returns the first."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.training = False

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Run the wrapped module and return its first output."""
        result = self.inner(*inputs)
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


def _zero_row(array: np.ndarray) -> np.ndarray:
    shape = (1, *array.shape[1:])
    return np.full(shape, b"", object) if array.dtype == object else np.zeros(shape, array.dtype)
