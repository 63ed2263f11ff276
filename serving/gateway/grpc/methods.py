"""The methods of the gRPC service over the data plane, whatever server carries them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Any, Final

import msgspec

from serving.access.decision import Access
from serving.access.scopes import Scope
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
    """A unary method.

    Attributes:
        request: class of its message.
        call: a coroutine that answers a parsed message, from the data plane and the context.
        scope: what it lets ask for.
        model: tells the model that a message names, empty if none; None: no message names one.
    """

    request: Any
    call: Call
    scope: Scope
    model: Callable[[Any], str] | None = None

    async def answer(
        self, plane: DataPlane, access: Access, message: Any, context: RequestContext
    ) -> Any:
        """Answer a parsed message, unless whoever asks may not ask that model.

        Whether the method may be called at all was decided before the message was read.

        Raises:
            VigilError: whatever went wrong, as the domain's exception.
        """
        if self.model is not None:
            refused = access.decide(self.scope, self.model(message), context.principal)
            if refused is not None:
                raise refused
        return await self.call(plane, message, context)


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


NAME: Final = attrgetter("name")
MODEL_NAME: Final = attrgetter("model_name")

METHODS: dict[str, Method] = {
    SERVICE + "ServerLive": Method(pb.ServerLiveRequest, server_live, Scope.HEALTH),
    SERVICE + "ServerReady": Method(pb.ServerReadyRequest, server_ready, Scope.HEALTH),
    SERVICE + "ModelReady": Method(pb.ModelReadyRequest, model_ready, Scope.HEALTH, NAME),
    SERVICE + "ServerMetadata": Method(pb.ServerMetadataRequest, server_metadata, Scope.METADATA),
    SERVICE + "ModelMetadata": Method(
        pb.ModelMetadataRequest, model_metadata, Scope.METADATA, NAME
    ),
    SERVICE + "ModelInfer": Method(pb.ModelInferRequest, model_infer, Scope.INFER, MODEL_NAME),
    SERVICE + "ModelStatistics": Method(
        pb.ModelStatisticsRequest, grpc_extensions.model_statistics, Scope.OBSERVE, NAME
    ),
    SERVICE + "ModelConfig": Method(
        pb.ModelConfigRequest, grpc_extensions.config, Scope.METADATA, NAME
    ),
    SERVICE + "RepositoryIndex": Method(
        pb.RepositoryIndexRequest, grpc_extensions.repository_index, Scope.METADATA
    ),
    EXPLAIN: Method(pb.ModelInferRequest, grpc_extensions.explain, Scope.EXPLAIN, MODEL_NAME),
    LABELS_PUSH: Method(vigil_pb2.LabelsPushRequest, labels.push, Scope.LABEL, MODEL_NAME),
    SERVICE + "RepositoryModelLoad": Method(
        pb.RepositoryModelLoadRequest, grpc_extensions.repository_load, Scope.CONTROL, MODEL_NAME
    ),
    SERVICE + "RepositoryModelUnload": Method(
        pb.RepositoryModelUnloadRequest,
        grpc_extensions.repository_unload,
        Scope.CONTROL,
        MODEL_NAME,
    ),
    SERVICE + "TraceSetting": Method(
        pb.TraceSettingRequest, grpc_settings.trace_setting, Scope.CONTROL, MODEL_NAME
    ),
    SERVICE + "LogSettings": Method(
        pb.LogSettingsRequest, grpc_settings.log_settings, Scope.CONTROL
    ),
    HEALTH + "Check": Method(
        health_pb2.HealthCheckRequest, grpc_health.check, Scope.HEALTH, grpc_health.model_asked
    ),
}
"""Unary methods by their path."""
