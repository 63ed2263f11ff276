"""Compiles a forward pass with torch.compile, one graph per bucket.

Weights are constants of the compiled graph ("freezing"), so that batch normalisation is folded
into convolutions and weights are laid out once for the kernel that reads them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from serving.config import ConfigError
from serving.models.repository.folder import ModelEntry


def compiled(
    entry: ModelEntry, run: Callable[..., Any], device: torch.device, buckets: Sequence[int]
) -> Callable[..., Any]:
    """Return `run` compiled; each batch size is compiled when it is first seen.

    Args:
        entry: says by `compile` how much time to spend on finding the quickest kernels.
        run: the forward pass of a module whose weights never change again.
        device: where it computes.
        buckets: the batch sizes that will be seen.

    Raises:
        ConfigError: the compiler that torch.compile needs for the device is not installed.
    """
    _require_compiler(entry, device)
    with warnings.catch_warnings():
        # Compiling imports parts of torch that use what torch itself has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        import torch._inductor.config as inductor

        importlib.import_module("torch.utils.mkldnn")
    # Workers of a pool would outlive the compilation, in a process that has better to do.
    inductor.compile_threads = 1
    options: dict[str, Any] = {"freezing": True}
    if entry.config.compile == "max-autotune":
        options["max_autotune"] = True
    # The stubs of torch do not know the newest two arguments.
    compile_: Callable[..., Callable[..., Any]] = torch.compile
    return compile_(
        run,
        dynamic=False,
        options=options,
        # Torch gives up after eight sizes, and silently computes uncompiled from then on.
        recompile_limit=len(buckets) + 8,
        isolate_recompiles=True,
    )


def _require_compiler(entry: ModelEntry, device: torch.device) -> None:
    if device.type == "cpu":
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            raise ConfigError(
                f"model '{entry.name}': compile: {entry.config.compile} needs a C++ compiler, and "
                f"'{compiler}' is not installed; install g++, name another one in the environment "
                f"variable CXX, or set `compile: none`"
            )
    elif importlib.util.find_spec("triton") is None:
        raise ConfigError(
            f"model '{entry.name}': compile: {entry.config.compile} needs the package triton on a "
            f"GPU; install it, or set `compile: cuda-graphs` or `none`"
        )
