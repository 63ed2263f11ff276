"""What formats import: before their first model, in a process that forks, and with each model."""

from __future__ import annotations

import contextlib
import importlib

from serving.config import ConfigError, Library, format_named


def import_before_fork(model_format: str) -> None:
    """Import what models of a format need; what cannot be is left to whoever loads a model.

    What a model's own code imports is left to each process, and so are libraries that start
    threads when they are imported, as onnxruntime does.
    """
    for name in format_named(model_format).before_fork:
        # A broken installation may raise anything; the loader of the format says what is wrong.
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def require(library: Library, what: str) -> None:
    """Import the library that `what` needs.

    Raises:
        ConfigError: it is not installed; says how to install it.
    """
    try:
        importlib.import_module(library.module)
    except ImportError:
        raise ConfigError(library.missing(what)) from None
