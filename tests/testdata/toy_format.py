"""All that a new model format is: this file, and `DESCRIPTOR` in the list of formats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from serving.config import ConfigError, FormatDescriptor, Library
from serving.config.formats.descriptor import Conversion, Guide
from serving.models.array_model import ArrayModel
from serving.models.repository.folder import ModelEntry
from serving.models.repository.manifest import verified_bytes
from serving.models.signature import Signature, Tensor


def load(entry: ModelEntry, _device: str) -> ArrayModel:
    """Load a model that multiplies by the number in its file."""
    factor = np.float32(_read(entry.weights)["factor"])
    verified_bytes(entry.directory, entry.weights.name)

    def run(inputs: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return {"y": inputs["x"] * factor}

    return ArrayModel(entry, run)


def signature(path: Path) -> Signature:
    """Read how many columns the file says there are."""
    shape = [None, int(_read(path)["columns"])]
    return Signature([Tensor("x", "FP32", shape)], [Tensor("y", "FP32", shape)])


def convert(file: Path, target: Path) -> list[str]:
    """Write what a file of another kind holds, a factor and columns by turns."""
    factor, columns = file.read_text().split()
    target.write_text(json.dumps({"factor": float(factor), "columns": int(columns)}))
    return ["serve it with `format: toy`"]


def _read(path: Path) -> dict[str, float]:
    try:
        found: dict[str, float] = json.loads(path.read_text())
    except ValueError:
        raise ConfigError(f"{path}: is no toy") from None
    return found


DESCRIPTOR = FormatDescriptor(
    name="toy",
    load="toy_format:load",
    guide=Guide(
        "`model.toy`", "none", "no", inputs="`x`, FP32 [-1, columns]", outputs="`y`, like `x`"
    ),
    platform="toy_json",
    backend="toys",
    weights="model.toy",
    signature="toy_format:signature",
    library=Library("toy_format", "a toy", "toys"),
    before_fork=("toy_format",),
    conversion=Conversion((".plaything",), "toy_format:convert"),
)
