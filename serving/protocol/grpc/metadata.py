"""Metadata as gRPC messages."""

from __future__ import annotations

from collections.abc import Iterable

from serving.protocol.metadata import ModelMetadata, ServerMetadata, TensorMetadata
from serving.protocol.pb.open_inference_pb2 import ModelMetadataResponse, ServerMetadataResponse


def server_metadata(metadata: ServerMetadata) -> ServerMetadataResponse:
    """Return the metadata of the server as a message."""
    return ServerMetadataResponse(
        name=metadata.name, version=metadata.version, extensions=metadata.extensions
    )


def model_metadata(metadata: ModelMetadata) -> ModelMetadataResponse:
    """Return the metadata of a model as a message."""
    return ModelMetadataResponse(
        name=metadata.name,
        versions=metadata.versions,
        platform=metadata.platform,
        inputs=_tensors(metadata.inputs),
        outputs=_tensors(metadata.outputs),
    )


def _tensors(tensors: Iterable[TensorMetadata]) -> list[ModelMetadataResponse.TensorMetadata]:
    return [
        ModelMetadataResponse.TensorMetadata(
            name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
        )
        for tensor in tensors
    ]
