"""What formats import: before their first model, in a process that forks, and with each model."""

from __future__ import annotations

import contextlib
import importlib
import re
from pathlib import Path
from typing import Final

from serving.config import ConfigError, Library, format_named

_TORCH: Final = re.compile(
    rb"^[ \t]*(?:import|from)[ \t]+(?:torch|transformers|sentence_transformers|diffusers)\b",
    re.MULTILINE,
)


def import_before_fork(model_format: str) -> None:
    """Import what models of a format need; what cannot be is left to whoever loads a model.

    What a model's own code imports is left to each process, and so are libraries that start
    threads when they are imported, as onnxruntime does.
    """
    for name in format_named(model_format).before_fork:
        # A broken installation may raise anything; the loader of the format says what is wrong.
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def import_for_code(factory: str, directory: Path) -> bool:
    """Import torch if a model's own code does, so that all its replicas share it.

    Args:
        factory: `factory` of model.yaml.
        directory: the version's folder; the code lies there or one above.

    Returns:
        Whether it was imported. What the code says is only looked at; nothing of it runs.
    """
    name = f"{factory.partition(':')[0]}.py"
    for file in (directory / name, directory.parent / name):
        # Whoever loads the model says what is wrong with its files, or with the installation.
        with contextlib.suppress(Exception):
            if _TORCH.search(file.read_bytes()):
                importlib.import_module("torch")
                return True
    return False


def require(library: Library, what: str) -> None:
    """Import the library that `what` needs.

    Raises:
        ConfigError: it is not installed; says how to install it.
    """
    try:
        importlib.import_module(library.module)
    except ImportError:
        raise ConfigError(library.missing(what)) from None
