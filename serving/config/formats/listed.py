"""Every model format: the only place that knows them by name.

A new one is a file with a function that loads it and an entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from serving.config.formats.descriptor import Conversion, FormatDescriptor, Guide, Library

PICKLES: Final = (".pkl", ".pickle", ".joblib")
"""What files that Python's `pickle` wrote are called; none is served, since reading one runs it."""

FORMATS: Final = (
    FormatDescriptor(
        name="safetensors",
        load="serving.models.formats.safetensors_factory:load_safetensors",
        guide=Guide(
            holds="`model.safetensors` and the factory's file",
            code="trusted",
            features="`forward_with_features`",
        ),
        platform="pytorch_safetensors",
        backend="pytorch",
        weights="model.safetensors",
        needs_factory=True,
        compiles=True,
        converts_precision=True,
        has_gradients=True,
        before_fork=("serving.models.formats.safetensors_factory",),
        conversion=Conversion((".pt", ".pth"), "serving.models.formats.checkpoint:to_safetensors"),
    ),
    FormatDescriptor(
        name="torch_export",
        load="serving.models.formats.torch_export.graph:load_torch_export",
        guide=Guide(
            holds="`model.pt2`",
            code="none",
            features="a result `features`; of a tuple, one more than declared",
            inputs="the arguments of `forward`",
            outputs="the keys or fields of the dict, `ModelOutput`, dataclass or NamedTuple that "
            "`forward` returns, `features` of [rows, width] left out; else `output`, or "
            "`output_0`, `output_1`, …",
        ),
        platform="pytorch_export",
        backend="pytorch",
        weights="model.pt2",
        signature="serving.models.formats.torch_export.signature:read_export_signature",
        compiles=True,
        has_gradients=True,
        before_fork=("serving.models.formats.torch_export.graph",),
    ),
    FormatDescriptor(
        name="torchscript",
        load="serving.models.formats.torchscript:load_torchscript",
        guide=Guide(
            holds="`model.pt`",
            code="trusted",
            features="a field `features`; of a tuple, one more than declared",
        ),
        platform="pytorch_libtorch",
        backend="pytorch",
        weights="model.pt",
        holds_code=True,
        has_gradients=True,
        before_fork=("serving.models.formats.torchscript",),
    ),
    FormatDescriptor(
        name="onnx",
        load="serving.models.formats.onnx.graph:load_onnx",
        guide=Guide(
            holds="`model.onnx`, and files of weights beside it that it names",
            code="none",
            features="an output named `features`",
            inputs="the graph's",
            outputs="the graph's, `features` left out",
        ),
        platform="onnxruntime_onnx",
        backend="onnxruntime",
        weights="model.onnx",
        signature="serving.models.formats.onnx.signature:read_onnx_signature",
        library=Library("onnxruntime", "ONNX Runtime", "onnx"),
        may_use_gpu="serving.models.formats.onnx.gpu:may_use_gpu",
        # The library itself starts threads when it is imported.
        before_fork=("serving.models.formats.onnx.graph",),
    ),
    FormatDescriptor(
        name="sklearn",
        load="serving.models.formats.sklearn.estimator:load_sklearn",
        guide=Guide(
            holds="`model.skops`",
            code="trusted if skops does not know a type",
            features="no",
            inputs="`x`, FP64 [-1, columns], or BYTES [-1] for a vectorizer of texts; "
            "columns that may be text must be declared",
            outputs="`probabilities`, FP64 with `classes`, of classifiers that always give them; "
            "all else must be declared",
        ),
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
        guide=Guide(
            holds="the factory's file and what it reads",
            code="trusted",
            features="`predict_with_features`",
        ),
        platform="python",
        backend="python",
        needs_factory=True,
        before_fork=("serving.models.formats.python_class",),
    ),
    FormatDescriptor(
        name="remote",
        # It loads gRPC, which must not be in a process that forks others.
        load="serving.models.formats.remote:load_remote",
        guide=Guide(
            holds="nothing: the model is on another server, `remote.url`",
            code="there",
            features="no",
        ),
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
