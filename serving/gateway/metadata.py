"""What the gateway tells of itself and its models; shared by HTTP and gRPC."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from serving.config import InputSpec, ModelConfig, OutputSpec
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


def _own_version() -> str:
    try:
        return version("vigil")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"


VERSION: Final = _own_version()


def server_metadata(plane: DataPlane) -> ServerMetadata:
    """Describe the server."""
    return ServerMetadata(plane.server_name, VERSION, EXTENSIONS)


def tensor_metadata(config: ModelConfig, spec: InputSpec | OutputSpec) -> TensorMetadata:
    """Return the protocol's view of a declared tensor."""
    return TensorMetadata(spec.name, spec.datatype, tuple(config.own_shape(spec)))


def _input_metadata(config: ModelConfig, spec: InputSpec) -> TensorMetadata:
    """Return an input as clients are to send it: one value per row as [-1, 1], as with Triton.

    Its tools take an input without dims beside the row axis for empty.
    """
    told = tensor_metadata(config, spec)
    if told.shape != (-1,) or spec.rowless or not config.row_axis:
        return told
    return TensorMetadata(told.name, told.datatype, (-1, 1))


def model_metadata(plane: DataPlane, name: str, version_: str) -> ModelMetadata:
    """Describe a model.

    Raises:
        ModelNotFound, VersionNotFound: it is not served.
    """
    entry = plane.resolve(name, version_)
    return ModelMetadata(
        entry.name,
        (entry.version,) if version_ else tuple(plane.versions(name)),
        entry.config.descriptor.platform,
        tuple(_input_metadata(entry.config, spec) for spec in entry.config.inputs),
        tuple(tensor_metadata(entry.config, spec) for spec in entry.config.outputs),
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
