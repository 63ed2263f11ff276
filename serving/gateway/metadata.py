"""What the gateway tells of itself and its models; shared by HTTP and gRPC."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from serving.config import Format, InputSpec, OutputSpec
from serving.dataplane.handler import DataPlane
from serving.errors import ModelNotReady
from serving.protocol.metadata import ModelMetadata, ServerMetadata, TensorMetadata

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "logging",
    "model_configuration",
    "model_repository",
    "schedule_policy",
    "statistics",
    "trace",
    "vigil_explain",
    "vigil_labels",
    "vigil_monitors",
)

PLATFORM: Final[dict[Format, str]] = {
    "safetensors": "pytorch_safetensors",
    "torch_export": "pytorch_export",
    "torchscript": "pytorch_libtorch",
    "onnx": "onnxruntime_onnx",
    "sklearn": "sklearn",
    "python": "python",
    "remote": "remote",
}


BACKEND: Final[dict[Format, str]] = {
    "safetensors": "pytorch",
    "torch_export": "pytorch",
    "torchscript": "pytorch",
    "onnx": "onnxruntime",
    "sklearn": "sklearn",
    "python": "python",
    "remote": "remote",
}


def _own_version() -> str:
    try:
        return version("vigil")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"


VERSION: Final = _own_version()


def server_metadata(plane: DataPlane) -> ServerMetadata:
    """Describe the server."""
    return ServerMetadata(plane.server_name, VERSION, EXTENSIONS)


def tensor_metadata(spec: InputSpec | OutputSpec, row_axis: bool = True) -> TensorMetadata:
    """Return the protocol's view of a declared tensor; `row_axis`: whether requests have one."""
    shape = spec.shape if row_axis else spec.shape[1:]
    return TensorMetadata(spec.name, spec.datatype, tuple(shape))


def _input_metadata(spec: InputSpec, row_axis: bool) -> TensorMetadata:
    """Return an input as clients are to send it: one value per row as [-1, 1], as with Triton.

    Its tools take an input without dims beside the row axis for empty.
    """
    told = tensor_metadata(spec, row_axis)
    return told if spec.shape[1:] else TensorMetadata(told.name, told.datatype, (*told.shape, 1))


def model_metadata(plane: DataPlane, name: str, version_: str) -> ModelMetadata:
    """Describe a model.

    Raises:
        ModelNotFound, VersionNotFound: it is not served.
    """
    entry = plane.resolve(name, version_)
    return ModelMetadata(
        entry.name,
        (entry.version,) if version_ else tuple(plane.versions(name)),
        PLATFORM[entry.config.format],
        tuple(_input_metadata(spec, entry.row_axis) for spec in entry.config.inputs),
        tuple(tensor_metadata(spec, entry.row_axis) for spec in entry.config.outputs),
    )


def require_ready(plane: DataPlane, name: str, version_: str) -> None:
    """Return if the model can answer now.

    Raises:
        ModelNotFound, VersionNotFound: it is not served.
        ModelNotReady: no proven replica is there.
    """
    entry = plane.resolve(name, version_)
    if not entry.ready:
        raise ModelNotReady(f"model '{entry.name}' is not ready: {entry.problem}")
