"""Completes a `model.yaml` that leaves out inputs or outputs with what the artefact tells.

The artefact is not checked against the manifest here and may be hostile. Whoever loads it checks
it, and holds it against what was read here as if that had been written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Final

from serving.config import ConfigError, ModelConfig, parse
from serving.models.repository.manifest import inside
from serving.models.signature import Side, Signature, declared

Read = Callable[[Path], Signature]
"""Reads the signature of the artefact at a path; imports nothing that would compute it."""

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
    reader = config.descriptor.signature
    assert reader is not None  # else `ModelConfig` asks for inputs and outputs
    read: Read = resolve_name(reader)
    found = read(path)
    raw: dict[str, Any] = {key: getattr(config, key) for key in config.model_fields_set}
    for side in _SIDES:
        if not getattr(config, side):
            raw[side] = declared(path, side, found, row_axis=config.row_axis)
    where = weights.parent.parent / "model.yaml"
    try:
        return parse(ModelConfig, raw, str(where))
    except ConfigError as error:
        raise ConfigError(f"{error.message} (inputs and outputs as {path} tells them)") from None
