"""Completes a `model.yaml` that leaves out inputs or outputs with what the artefact tells.

The artefact is not checked against the manifest here and may be hostile. Whoever loads it checks
it, and holds it against what was read here as if that had been written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from serving.config import ConfigError, ModelConfig, parse
from serving.models.formats.onnx.signature import read_onnx_signature
from serving.models.formats.signature import Side, Signature, declared
from serving.models.formats.sklearn.signature import read_sklearn_signature
from serving.models.formats.torch_export.signature import read_export_signature
from serving.models.repository.manifest import inside

_READERS: Final[dict[str, Callable[[Path], Signature]]] = {
    "torch_export": read_export_signature,
    "onnx": read_onnx_signature,
    "sklearn": read_sklearn_signature,
}
_SIDES: Final[tuple[Side, ...]] = ("inputs", "outputs")


def completed(config: ModelConfig, weights: Path) -> ModelConfig:
    """Return `config` with the inputs or outputs that it leaves out, read from `weights`.

    What is declared is taken as it is, a list as a whole.

    Raises:
        ConfigError: the artefact is missing, damaged or does not tell, or what it tells does not
            go together with the rest of `config`.
    """
    if config.inputs and config.outputs:
        return config
    path = inside(weights.parent, weights.name)
    found = _READERS[config.format](path)
    raw: dict[str, Any] = {key: getattr(config, key) for key in config.model_fields_set}
    for side in _SIDES:
        if not getattr(config, side):
            raw[side] = declared(path, side, found, row_axis=config.row_axis)
    where = weights.parent.parent / "model.yaml"
    try:
        return parse(ModelConfig, raw, str(where))
    except ConfigError as error:
        raise ConfigError(f"{error.message} (inputs and outputs as {path} tells them)") from None
