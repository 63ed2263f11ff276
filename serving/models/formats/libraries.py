"""What a format imports before its first model, for a process that forks those that load them.

Importing is safe there: it computes nothing, and leaves no thread and no device behind. Formats
whose library starts threads when it is imported (onnxruntime does) are left to each process, and
so is what a model's own code imports.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Mapping
from typing import Final

_LIBRARIES: Final[Mapping[str, tuple[str, ...]]] = {
    "sklearn": ("skops.io", "serving.models.execution.joblib_threads"),
}


def import_libraries(model_format: str) -> None:
    """Import what models of a format need; what cannot be is left to whoever loads a model."""
    # A broken installation may raise anything; the loader of the format says what is wrong.
    with contextlib.suppress(Exception):
        for name in _LIBRARIES.get(model_format, ()):
            importlib.import_module(name)
