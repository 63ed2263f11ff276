"""Every model format: the only place that knows them by name.

A new one is a file with a function that loads it and an entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from serving.config.formats.descriptor import Conversion, FormatDescriptor, Library

PICKLES: Final = (".pkl", ".pickle", ".joblib")
"""What files that Python's `pickle` wrote are called; none is served, since reading one runs it."""

FORMATS: Final = (
    FormatDescriptor(
        name="safetensors",
        load="serving.models.formats.safetensors_factory:load_safetensors",
        platform="pytorch_safetensors",
        backend="pytorch",
        weights="model.safetensors",
        needs_factory=True,
        compiles=True,
        converts_precision=True,
        before_fork=("serving.models.formats.safetensors_factory",),
        conversion=Conversion((".pt", ".pth"), "serving.models.formats.checkpoint:to_safetensors"),
    ),
    FormatDescriptor(
        name="torch_export",
        load="serving.models.formats.torch_export.graph:load_torch_export",
        platform="pytorch_export",
        backend="pytorch",
        weights="model.pt2",
        signature="serving.models.formats.torch_export.signature:read_export_signature",
        compiles=True,
        before_fork=("serving.models.formats.torch_export.graph",),
    ),
    FormatDescriptor(
        name="torchscript",
        load="serving.models.formats.torchscript:load_torchscript",
        platform="pytorch_libtorch",
        backend="pytorch",
        weights="model.pt",
        holds_code=True,
        before_fork=("serving.models.formats.torchscript",),
    ),
    FormatDescriptor(
        name="onnx",
        load="serving.models.formats.onnx.graph:load_onnx",
        platform="onnxruntime_onnx",
        backend="onnxruntime",
        weights="model.onnx",
        signature="serving.models.formats.onnx.signature:read_onnx_signature",
        library=Library("onnxruntime", "ONNX Runtime", "onnx"),
        # The library itself starts threads when it is imported.
        before_fork=("serving.models.formats.onnx.graph",),
    ),
    FormatDescriptor(
        name="sklearn",
        load="serving.models.formats.sklearn.estimator:load_sklearn",
        platform="sklearn",
        backend="sklearn",
        weights="model.skops",
        signature="serving.models.formats.sklearn.signature:read_sklearn_signature",
        has_methods=True,
        rows_only=True,
        library=Library("skops.io", "skops", "sklearn"),
        before_fork=(
            "serving.models.formats.sklearn.estimator",
            "skops.io",
            "serving.models.execution.joblib_threads",
        ),
        conversion=Conversion(PICKLES, "serving.models.formats.sklearn.pickled:to_skops"),
    ),
    FormatDescriptor(
        name="python",
        load="serving.models.formats.python_class:load_python",
        platform="python",
        backend="python",
        needs_factory=True,
        before_fork=("serving.models.formats.python_class",),
    ),
    FormatDescriptor(
        name="remote",
        # It loads gRPC, which must not be in a process that forks others.
        load="serving.models.formats.remote:load_remote",
        platform="remote",
        backend="remote",
        elsewhere=True,
    ),
)


def format_named(name: str) -> FormatDescriptor:
    """Return the format of that name, which `ModelConfig` has checked to be one.

    Raises:
        KeyError: there is none.
    """
    for each in FORMATS:
        if each.name == name:
            return each
    raise KeyError(name)


def names_of(which: Callable[[FormatDescriptor], object] = lambda _each: True) -> list[str]:
    """Return the names of the formats of which `which` is true."""
    return [each.name for each in FORMATS if which(each)]
