"""The methods of the gRPC service over the data plane, whatever server carries them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.errors import ModelNotFound, ModelNotReady, VersionNotFound
from serving.gateway import metadata
from serving.gateway.extensions import labels
from serving.gateway.grpc import extensions as grpc_extensions
from serving.gateway.grpc import health as grpc_health
from serving.gateway.grpc import settings as grpc_settings
from serving.gateway.grpc.paths import EXPLAIN, HEALTH, LABELS_PUSH, SERVICE
from serving.protocol.grpc import codec as grpc_codec
from serving.protocol.grpc import metadata as grpc_metadata
from serving.protocol.pb import health_pb2, vigil_pb2
from serving.protocol.pb import open_inference_pb2 as pb

Call = Callable[..., Awaitable[Any]]


class Method(msgspec.Struct, frozen=True):
    """A unary method: its request class, and a coroutine that answers a parsed request."""

    request: Any
    call: Call


async def server_live(_plane: DataPlane, _request: Any, _context: RequestContext) -> Any:
    """Whoever can answer is alive."""
    return pb.ServerLiveResponse(live=True)


async def server_ready(plane: DataPlane, _request: Any, _context: RequestContext) -> Any:
    """Whether an inference through every required model has worked."""
    return pb.ServerReadyResponse(ready=plane.ready()[0])


async def model_ready(plane: DataPlane, request: Any, _context: RequestContext) -> Any:
    """Whether one model can answer now; one that is not served cannot."""
    try:
        metadata.require_ready(plane, request.name, request.version)
    except (ModelNotFound, VersionNotFound, ModelNotReady):
        # An answer and no error, as Triton gives it: clients wait for a model by asking again.
        return pb.ModelReadyResponse(ready=False)
    return pb.ModelReadyResponse(ready=True)


async def server_metadata(plane: DataPlane, _request: Any, _context: RequestContext) -> Any:
    """Name, version and extensions."""
    return grpc_metadata.server_metadata(metadata.server_metadata(plane))


async def model_metadata(plane: DataPlane, request: Any, _context: RequestContext) -> Any:
    """Inputs, outputs and versions of one model."""
    return grpc_metadata.model_metadata(
        metadata.model_metadata(plane, request.name, request.version)
    )


async def model_infer(plane: DataPlane, message: Any, context: RequestContext) -> Any:
    """One inference."""
    request = grpc_codec.decode_request(message)
    response = await plane.infer(request, context)
    return grpc_codec.encode_response(response, request)


METHODS: dict[str, Method] = {
    SERVICE + "ServerLive": Method(pb.ServerLiveRequest, server_live),
    SERVICE + "ServerReady": Method(pb.ServerReadyRequest, server_ready),
    SERVICE + "ModelReady": Method(pb.ModelReadyRequest, model_ready),
    SERVICE + "ServerMetadata": Method(pb.ServerMetadataRequest, server_metadata),
    SERVICE + "ModelMetadata": Method(pb.ModelMetadataRequest, model_metadata),
    SERVICE + "ModelInfer": Method(pb.ModelInferRequest, model_infer),
    SERVICE + "ModelStatistics": Method(
        pb.ModelStatisticsRequest, grpc_extensions.model_statistics
    ),
    SERVICE + "ModelConfig": Method(pb.ModelConfigRequest, grpc_extensions.config),
    SERVICE + "RepositoryIndex": Method(
        pb.RepositoryIndexRequest, grpc_extensions.repository_index
    ),
    EXPLAIN: Method(pb.ModelInferRequest, grpc_extensions.explain),
    LABELS_PUSH: Method(vigil_pb2.LabelsPushRequest, labels.push),
    SERVICE + "RepositoryModelLoad": Method(
        pb.RepositoryModelLoadRequest, grpc_extensions.repository_load
    ),
    SERVICE + "RepositoryModelUnload": Method(
        pb.RepositoryModelUnloadRequest, grpc_extensions.repository_unload
    ),
    SERVICE + "TraceSetting": Method(pb.TraceSettingRequest, grpc_settings.trace_setting),
    SERVICE + "LogSettings": Method(pb.LogSettingsRequest, grpc_settings.log_settings),
    HEALTH + "Check": Method(health_pb2.HealthCheckRequest, grpc_health.check),
}
"""Unary methods by their path."""
