"""Saves a torch module as a version that Vigil serves: weights, manifest and, if needed, code.

An exported archive tells inputs and outputs as well, so either list may be left out: see
`serving/models/formats/torch_export/signature.py` for the names that they have then.

A model of one's own is a folder with a `model.yaml` and a version:

    folder = Path("models/mine")
    save_torch_export(module, [torch.zeros(2, 4)], folder / "1")
    (folder / "model.yaml").write_text('''
    format: torch_export
    inputs: [{name: x, datatype: FP32, shape: [-1, 4]}]
    outputs: [{name: y, datatype: FP32, shape: [-1, 3]}]
    ''')
"""

from __future__ import annotations

import copy
import inspect
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from serving.config import format_named
from serving.models.named_outputs import by_name
from serving.models.repository.manifest import write_manifest
from serving.models.signature import FEATURES, placeholders
from serving.models.torch.tensor_names import WITH_FEATURES, arguments_of
from serving.models.torch.weights_file import write_weights


def save_safetensors(module: torch.nn.Module, directory: Path, source: Path) -> None:
    """Save `module` as a version of format `safetensors` in `directory`.

    Args:
        module: its weights are saved; its class is not.
        directory: the version's folder, `<models>/<name>/<number>`; made if missing.
        source: the Python file whose factory builds the module without arguments; it is copied
            beside the weights, so it may import only what is installed where it is served.
    """
    directory.mkdir(parents=True, exist_ok=True)
    weights = _weights(directory, "safetensors")
    write_weights(module.state_dict(), weights)
    shutil.copyfile(source, directory / source.name)
    write_manifest(directory, [weights.name, source.name])


def save_torch_export(
    module: torch.nn.Module, example_inputs: Sequence[torch.Tensor], directory: Path
) -> None:
    """Export `module` as a version of format `torch_export` in `directory`.

    If the module has a method `forward_with_features(*inputs)` that returns
    `(outputs, features)`, the features become the graph's last result, by the name `features`.

    Args:
        module: the names of its arguments are those of the inputs, and, if it returns a dict, a
            `ModelOutput`, a dataclass or a NamedTuple, its keys or fields those of the outputs.
        example_inputs: one tensor each in the order of its arguments, with at least two rows: torch
            would take a single row for a constant. Only the row axis may vary later. A tensor
            without an axis is an input without rows.
        directory: the version's folder, `<models>/<name>/<number>`; made if missing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    frozen: torch.nn.Module = copy.deepcopy(module).eval().requires_grad_(requires_grad=False)
    if hasattr(frozen, WITH_FEATURES):
        frozen = _WithFeatures(frozen)
    else:
        forward: Callable[..., Any] = frozen.forward
        frozen.forward = _named_like(forward, lambda *inputs: _as_dict(forward(*inputs)))
    rows = torch.export.Dim("rows")
    shapes = tuple({0: rows} if tensor.ndim else {} for tensor in example_inputs)
    only, *others = inspect.signature(frozen.forward).parameters.values()
    is_open = not others and only.kind is inspect.Parameter.VAR_POSITIONAL
    program = torch.export.export(
        frozen,
        # One tensor for two arguments would make one input of them.
        tuple(example.clone() for example in example_inputs),
        dynamic_shapes={only.name: shapes} if is_open else shapes,
    )
    for node in program.graph.nodes:
        # Paths of the machine that exported; they help nobody and differ on every machine.
        node.meta.pop("stack_trace", None)
    weights = _weights(directory, "torch_export")
    torch.export.save(program, weights)
    write_manifest(directory, [weights.name])


def save_files(directory: Path, *sources: Path) -> None:
    """Copy finished files into a version's folder and write their manifest.

    For formats that other tools write: `model.pt` (torchscript), `model.onnx`, `model.skops`,
    or the Python file of format `python` with whatever it reads.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for source in sources:
        if source.resolve() != (directory / source.name).resolve():
            shutil.copyfile(source, directory / source.name)
    write_manifest(directory, [source.name for source in sources])


def _weights(directory: Path, model_format: str) -> Path:
    name = format_named(model_format).weights
    assert name is not None
    return directory / name


def _named_like(model: Callable[..., Any], run: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does what `run` does, with the names of the arguments of `model`."""

    def forward(*inputs: torch.Tensor) -> Any:
        return run(*inputs)

    forward.__signature__ = inspect.signature(model)  # type: ignore[attr-defined]
    return forward


def _as_dict(outputs: Any) -> Any:
    """Return outputs that have names as a dict: torch writes down the names of no other class."""
    found = by_name(outputs)
    return outputs if found is None else dict(found)


class _WithFeatures(torch.nn.Module):
    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner
        own = arguments_of(inner.forward_with_features)
        passes_on = own.takes_more and not own.names
        named = inner.forward if passes_on else inner.forward_with_features
        # The graph's inputs get the names of these arguments.
        self.forward: Any = _named_like(named, self._forward)

    def _forward(self, *inputs: torch.Tensor) -> dict[str, Any]:
        inner: Any = self.inner
        outputs, features = inner.forward_with_features(*inputs)
        outputs = _as_dict(outputs)
        if not isinstance(outputs, dict):
            several = outputs if isinstance(outputs, tuple | list) else (outputs,)
            outputs = dict(zip(placeholders(len(several)), several, strict=True))
        return {**outputs, FEATURES: features}
