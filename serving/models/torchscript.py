"""Format `torchscript`: an archive of `torch.jit.save`, for models that exist in no other form.

PyTorch has deprecated TorchScript; new models are better exported. The archive brings code of its
own, so it is read only with `trust_code: true`. Its submodules are compiled and let no hook in:
methods that replace the gradient of an activation (DeepLift) find none to replace and silently
become input times gradient. Integrated gradients need no hooks and come out right.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from typing import Any

import torch

from serving.config import ConfigError
from serving.models.factory import require_trust
from serving.models.manifest import verified_bytes
from serving.models.repository import WEIGHTS_OF, ModelEntry
from serving.models.torch_assembly import assemble
from serving.models.torch_model import FirstOutput, TorchModel, resolve_device


def load_torchscript(entry: ModelEntry, device: str) -> TorchModel:
    """Load a TorchScript archive.

    A module whose `forward` returns a tuple of one tensor more than `model.yaml` declares
    outputs gives features: the last is the penultimate activations, and `predict` drops it.

    Raises:
        ConfigError: code is not trusted, the file is missing, is not the one in the manifest,
            is no TorchScript, or its `forward` does not fit what `model.yaml` declares.
    """
    where = resolve_device(device)
    require_trust(entry, "format torchscript runs code that lies in the archive")
    content = verified_bytes(entry.directory, WEIGHTS_OF["torchscript"])
    module = _load(entry, content, where)
    _check_arguments(entry, module)
    declared = len(entry.config.outputs)
    has_features = _returned(entry, module) > declared

    def run(*inputs: torch.Tensor) -> Any:
        results = _call(module, inputs)
        return results[:declared] if has_features else results

    def run_with_features(*inputs: torch.Tensor) -> tuple[Any, Any]:
        results = _call(module, inputs)
        return results[:-1], results[-1]

    return assemble(
        entry,
        where,
        run,
        run_with_features if has_features else None,
        # Loaded afresh: copies of a compiled module may share its weights.
        lambda: FirstOutput(_load(entry, content, where)),
    )


def _call(module: Any, inputs: tuple[torch.Tensor, ...]) -> Any:
    try:
        return module(*inputs)
    except RuntimeError as error:
        # The archive's own source comes first, and what was wrong behind it.
        _, _, cause = str(error).rpartition("\nRuntimeError: ")
        if not cause:
            raise
        raise RuntimeError(cause) from None


def _load(entry: ModelEntry, content: bytes, device: torch.device) -> Any:
    _require_archive(entry, content)
    try:
        with warnings.catch_warnings():
            # The deprecation is known and documented; the operator cannot act on it here.
            warnings.simplefilter("ignore", DeprecationWarning)
            module: Any = torch.jit.load(  # type: ignore[no-untyped-call]
                io.BytesIO(content), map_location=device
            )
        module.eval()
        for parameter in module.parameters():
            parameter.requires_grad_(requires_grad=False)
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for a damaged archive
        message = " ".join(str(error).split())[:300]
        raise ConfigError(f"{entry.weights}: {type(error).__name__}: {message}") from None
    return module


def _require_archive(entry: ModelEntry, content: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name.rpartition("/")[2] for name in archive.namelist()]
    except zipfile.BadZipFile:
        names = []
    if "constants.pkl" not in names:
        raise ConfigError(
            f"{entry.weights}: is no TorchScript archive; if torch.save wrote it, "
            f"`vigil convert {entry.weights}` makes format safetensors of it"
        )


def _check_arguments(entry: ModelEntry, module: Any) -> None:
    arguments = module.forward.schema.arguments[1:]
    required = sum(not argument.has_default_value() for argument in arguments)
    declared = sum(not spec.sensitive for spec in entry.config.inputs)
    if not required <= declared <= len(arguments):
        raise ConfigError(
            f"{entry.weights}: forward takes {len(arguments)} inputs, model.yaml declares "
            f"{declared} that are not sensitive"
        )


def _returned(entry: ModelEntry, module: Any) -> int:
    """Return how many tensors `forward` returns, after checking that the outputs fit."""
    (result,) = module.forward.schema.returns
    parts = result.type.elements() if result.type.kind() == "TupleType" else [result.type]
    if any(part.kind() != "TensorType" for part in parts):
        raise ConfigError(
            f"{entry.weights}: forward returns {result.type}; it must return a tensor or a "
            f"tuple of tensors"
        )
    declared = len(entry.config.outputs)
    if len(parts) not in (declared, declared + 1):
        raise ConfigError(
            f"{entry.weights}: forward returns {len(parts)} tensors, model.yaml declares "
            f"{declared} outputs; one more than declared are the features"
        )
    return len(parts)
