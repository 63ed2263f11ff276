"""Weights of a module in a safetensors file, whatever memory its tensors share.

Tied parameters are one tensor by several names. A file holds it once, under the first name, and
its metadata tell the others, as safetensors' own `save_model` does. A view of a part of another
tensor is written as a tensor of its own, which every reader understands.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.nn.parameter import is_lazy

from serving.config import ConfigError
from serving.models.torch.array_conversion import is_dense

_MAX_MESSAGE: Final = 500
"""A file may name a million tensors that the module does not have."""


def write_weights(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors by name, of which some may share memory."""
    first_of: dict[object, str] = {}
    tensors: dict[str, torch.Tensor] = {}
    tied: dict[str, str] = {}
    for name, tensor in weights.items():
        first = first_of.setdefault(_identity(tensor), name)
        if first == name or not tensor.numel():
            tensors[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
        else:
            tied[name] = first
    save_file(tensors, path, {"format": "pt", **tied})
    # It is written readable by its owner only, but who serves it is often another user.
    path.chmod(0o644)


def load_weights(module: torch.nn.Module, path: Path, builder: str) -> None:
    """Load the file at `path` into `module`.

    A tensor may be missing where the module keeps it in the memory of one that is there, or where
    the file says that it equals one.

    Args:
        module: it is changed.
        path: the file.
        builder: what made the module, for errors.

    Raises:
        ConfigError: the file is damaged, lacks a tensor or has one too many, or one is not of the
            shape, the kind of datatype or, where tensors share memory, the value that it must be.
    """
    try:
        weights, tied = _read(path)
        state = {
            name: tensor
            for name, tensor in module.state_dict().items()
            if isinstance(tensor, torch.Tensor)
        }
        shared = _shared(state)
        for name, source in tied.items():
            if name in state and source in weights and not shared.get(name):
                weights.setdefault(name, weights[source])
        _require_kinds(path, builder, state, weights)
        result = module.load_state_dict(weights, strict=False)
    except (SafetensorError, RuntimeError) as error:
        message = " ".join(str(error).split())[:_MAX_MESSAGE]
        raise ConfigError(f"{path}: {message}") from None
    missing = [
        name for name in result.missing_keys if weights.keys().isdisjoint(shared.get(name, ()))
    ]
    _require_names(path, builder, missing, result.unexpected_keys)
    _require_values(path, builder, module, weights, shared)


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def _identity(tensor: torch.Tensor) -> object:
    """Return the same for tensors that are the same elements of the same memory."""
    return (
        tensor.device, tensor.dtype, tensor.untyped_storage().data_ptr(), tensor.storage_offset(),
        tensor.shape, tensor.stride(),
    )  # fmt: skip


def _shared(state: Mapping[str, torch.Tensor]) -> dict[str, set[str]]:
    """Return for each tensor those whose memory holds all of it, if there are any."""
    by_memory: dict[object, list[str]] = {}
    for name, tensor in state.items():
        # What is made only at the first batch, or has no numbers, has no memory yet.
        has_memory = not is_lazy(tensor) and tensor.device.type != "meta" and is_dense(tensor)
        if has_memory and tensor.numel():
            by_memory.setdefault(tensor.untyped_storage().data_ptr(), []).append(name)
    return {
        name: holders
        for names in by_memory.values()
        if len(names) > 1
        for name in names
        if (holders := {x for x in names if x != name and _holds(state[x], state[name])})
    }


def _holds(whole: torch.Tensor, part: torch.Tensor) -> bool:
    if _identity(whole) == _identity(part):
        return True
    (start, end), (first, last) = _span(whole), _span(part)
    is_dense = end - start == whole.numel() * whole.itemsize
    return is_dense and start <= first and last <= end


def _span(tensor: torch.Tensor) -> tuple[int, int]:
    """Return the first byte of a tensor and the one behind its last."""
    axes = zip(tensor.shape, tensor.stride(), strict=True)
    elements = 1 + sum((size - 1) * stride for size, stride in axes)
    return tensor.data_ptr(), tensor.data_ptr() + elements * tensor.itemsize


def _require_kinds(
    path: Path,
    builder: str,
    state: Mapping[str, torch.Tensor],
    weights: Mapping[str, torch.Tensor],
) -> None:
    # Torch casts what it loads, and integers for weights would be numbers of another meaning.
    for name, wanted in state.items():
        given = weights.get(name)
        if given is not None and _kind(given) != _kind(wanted):
            raise ConfigError(
                f"{path}: '{name}' has {given.dtype}, the module that {builder} builds has "
                f"{wanted.dtype}; save the weights of that module"
            )


def _kind(tensor: torch.Tensor) -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex()


def _require_names(path: Path, builder: str, missing: list[str], surplus: list[str]) -> None:
    wrong = [
        f"{what} {', '.join(map(repr, names))}"[: _MAX_MESSAGE // 2]
        for what, names in (("Missing key(s)", missing), ("Unexpected key(s)", surplus))
        if names
    ]
    if wrong:
        raise ConfigError(
            f"{path}: {'; '.join(wrong)}; save the weights of the module that {builder} builds"
        )


def _require_values(
    path: Path,
    builder: str,
    module: torch.nn.Module,
    weights: Mapping[str, torch.Tensor],
    shared: Mapping[str, set[str]],
) -> None:
    """Refuse different values for one memory, of which the last one would have won unseen."""
    state = module.state_dict()
    for name in shared.keys() & weights.keys():
        if not torch.equal(
            state[name].nan_to_num(), weights[name].to(state[name].dtype).nan_to_num()
        ):
            raise ConfigError(
                f"{path}: '{name}' differs from the weights that it shares memory with in the "
                f"module that {builder} builds; save the weights of that module"
            )
