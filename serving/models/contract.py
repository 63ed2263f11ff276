"""The contract between Vigil and a model of any format.

A model always predicts. What guards and explainers may need beyond that are *capabilities*,
which a format has or lacks; whoever needs one asks for it first and says clearly when it is
missing. Every format is loaded by one function of its file and is one object that fulfils `Model`.

docs/models.md has the table of formats, written from their list (`serving/config/formats`).

An explainer that hooks activations (DeepLift) finds none in TorchScript and becomes input times
gradient, unsaid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec
import numpy as np

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, np.ndarray]
"""Arrays by tensor name; the first axis of each is the row. BYTES are object arrays of bytes."""


class Capabilities(msgspec.Struct, frozen=True):
    """What a loaded model offers beside `predict`.

    Attributes:
        features: `predict_with_features` works: penultimate activations come out of the same
            forward pass that makes the outputs.
        module: `module()` gives a torch module of the caller's own.
        differentiable: gradients of outputs with respect to floating-point inputs exist.
    """

    features: bool = False
    module: bool = False
    differentiable: bool = False


class Prediction(msgspec.Struct, frozen=True):
    """Outputs of one forward pass, and its penultimate activations `[rows, width]` float32."""

    outputs: Tensors
    features: np.ndarray | None = None


@runtime_checkable
class Model(Protocol):
    """One loaded version of one model on one device. Calls come from one thread at a time."""

    @property
    def capabilities(self) -> Capabilities:
        """What this model offers beside `predict`."""

    def predict(self, inputs: Tensors) -> Tensors:
        """Run a batch. Inputs are not written to; outputs keep the first axis (rows).

        Outputs stay what they are when another batch is run.

        Raises:
            InvalidInput: the model refuses an input, or an index in it is out of range.
            ModelFailed: the model itself raised; message kept.
        """

    def predict_with_features(self, inputs: Tensors) -> Prediction:
        """Run a batch and return the penultimate activations of the same forward pass.

        Raises:
            Unsupported: the model has no `features` capability.
        """

    def module(self) -> torch.nn.Module:
        """Return a new torch module with these weights, private to the caller.

        The module takes the floating-point input tensor(s) in the order of the configuration
        and returns the first output. Hooks and backward passes on it touch nobody else. What it
        raises is what `predict` raises.

        Raises:
            Unsupported: the model has no `module` capability.
        """


@runtime_checkable
class AsyncModel(Model, Protocol):
    """A model that computes elsewhere, a GPU for example, while its caller does other things."""

    async def predict_async(self, inputs: Tensors, *, features: bool) -> Prediction:
        """Run a batch like `predict` or, with features, `predict_with_features`.

        Several calls may be under way at once in one loop. The inputs' memory must stay
        untouched until the call returns.

        Raises:
            InvalidInput: the model refuses an input, or an index in it is out of range.
            ModelFailed: the model itself raised; message kept.
            Unsupported: features are asked for and the model has none.
        """


@runtime_checkable
class UpstreamModel(Model, Protocol):
    """A model that another server computes.

    Attributes:
        answered_by: versions that have answered, as that server names them; who wants to know
            empties it before asking.
        traceparent: the W3C trace context that the server is told; empty: none.
    """

    answered_by: set[str]
    traceparent: str

    def require_ready(self) -> None:
        """Ask the server whether it has the model as `model.yaml` declares it.

        Raises:
            VigilError: the server cannot be reached, the model is not ready there, or its
                tensors are others than `model.yaml` says.
        """
