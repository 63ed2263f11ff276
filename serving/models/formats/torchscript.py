"""Format `torchscript`: an archive of `torch.jit.save`, for models that exist in no other form.

PyTorch has deprecated TorchScript; new models are better exported. The archive brings code of its
own, so it is read only with `trust_code: true`. Its submodules are compiled and let no hook in:
methods that replace the gradient of an activation (DeepLift) find none to replace and silently
become input times gradient. Integrated gradients need no hooks and come out right.
"""

from __future__ import annotations

import ast
import io
import warnings
import zipfile
from typing import Any

import torch

from serving.config import ConfigError
from serving.models.formats.factory import require_trust
from serving.models.repository.folder import ModelEntry
from serving.models.repository.manifest import verified_bytes
from serving.models.signature import FEATURES, placeholders
from serving.models.torch.assembly import assemble
from serving.models.torch.model import FirstOutput, TorchModel, resolve_device
from serving.models.torch.tensor_names import (
    Arguments,
    OutputsByName,
    Results,
    Run,
    bind_results,
    with_inputs,
)


def load_torchscript(entry: ModelEntry, device: str) -> TorchModel:
    """Load a TorchScript archive.

    A NamedTuple's field `features`, or one tensor more than `model.yaml` declares outputs in a
    tuple, is the penultimate activations; `predict` drops it.

    Raises:
        ConfigError: code is not trusted, the file is missing, is not the one in the manifest,
            is no TorchScript, or its `forward` does not fit what `model.yaml` declares.
    """
    where = resolve_device(device)
    require_trust(entry, "format torchscript runs code that lies in the archive")
    content = verified_bytes(entry.directory, entry.weights.name)
    module = _load(entry, content, where)
    outputs, features = _outputs(entry, module, content)
    run = _bound(entry, module)

    def run_with_features(*inputs: torch.Tensor) -> tuple[Any, Any]:
        results = run(*inputs)
        return outputs(results), results[features]

    def private() -> FirstOutput:
        # Loaded afresh: copies of a compiled module may share its weights.
        own = _load(entry, content, where)
        forward = _bound(entry, own)
        return FirstOutput(own, lambda *inputs: outputs(forward(*inputs)))

    return assemble(
        entry,
        where,
        lambda *inputs: outputs(run(*inputs)),
        None if features is None else run_with_features,
        private,
    )


def _bound(entry: ModelEntry, module: Any) -> Run:
    """Return a function of the inputs in the order of `model.yaml`."""

    def call(*inputs: torch.Tensor, **named: torch.Tensor) -> Any:
        try:
            return module(*inputs, **named)
        except RuntimeError as error:
            # The archive's own source comes first, and what was wrong behind it.
            _, _, cause = str(error).rpartition("\nRuntimeError: ")
            if not cause:
                raise
            raise RuntimeError(cause) from None

    return with_inputs(entry, call, _arguments(module))


def _arguments(module: Any) -> Arguments:
    arguments = module.forward.schema.arguments[1:]
    return Arguments(
        tuple(argument.name for argument in arguments),
        frozenset(each.name for each in arguments if not each.has_default_value()),
        sum(not argument.kwarg_only for argument in arguments),
    )


def _outputs(entry: ModelEntry, module: Any, content: bytes) -> tuple[Run, int | None]:
    """Return what takes the outputs out of a result of `forward`, and the place of the features."""
    (returned,) = module.forward.schema.returns
    kind = returned.type.kind()
    is_dict = kind == "DictType" and str(returned.type) == "Dict[str, Tensor]"
    if is_dict:
        return OutputsByName(entry, _arguments(module)), None
    parts = returned.type.elements() if kind == "TupleType" else [returned.type]
    fields = _fields(entry, returned.type, content)
    if not fields and any(part.kind() != "TensorType" for part in parts):
        raise ConfigError(
            f"{entry.weights}: forward returns {returned.type}; it must return a tensor or a "
            f"tuple, dict or NamedTuple of tensors"
        )
    at = fields.index(FEATURES) if FEATURES in fields else None
    found = Results(fields or placeholders(len(parts)), bool(fields), at, "tensors")
    places, features = bind_results(entry, found, _arguments(module))
    if kind != "TupleType":
        return lambda result: result, features
    return lambda result: tuple([result[place] for place in places]), features


def _fields(entry: ModelEntry, returned: Any, content: bytes) -> tuple[str, ...]:
    """Return the fields of a NamedTuple; none of another type. The archive's source tells them."""
    module, _, name = returned.annotation_str.rpartition(".")
    if returned.kind() != "TupleType" or not module:
        return ()
    path = f"/code/{module.replace('.', '/')}.py"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (file,) = [each for each in archive.namelist() if each.endswith(path)]
            classes = ast.walk(ast.parse(archive.read(file)))
        (found,) = [
            each for each in classes if isinstance(each, ast.ClassDef) and each.name == name
        ]
    except (ValueError, SyntaxError):
        raise ConfigError(
            f"{entry.weights}: does not tell the fields of what forward returns, {name}; return a "
            f"dict of tensors"
        ) from None
    return tuple(
        each.target.id
        for each in found.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    )


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
