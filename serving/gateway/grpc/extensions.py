"""gRPC methods of extensions: statistics, configuration, repository index; explanations."""

from __future__ import annotations

from typing import Any

import msgspec

from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.gateway.extensions.explanations import explain_request
from serving.gateway.extensions.logged_explanations import explain_logged, reference_of
from serving.gateway.extensions.model_configuration import model_config
from serving.gateway.extensions.repository_index import index
from serving.gateway.extensions.statistics import statistics
from serving.protocol.grpc import codec as grpc_codec
from serving.protocol.grpc.parameters import decode_parameters
from serving.protocol.json.repository import load_order
from serving.protocol.pb import open_inference_pb2 as pb
from serving.protocol.repository import ControlMeta

# The values have the messages' field names, so they become messages as they are.


async def model_statistics(plane: DataPlane, request: Any, _context: RequestContext) -> Any:
    """Statistics of all models, of one, or of one version."""
    found = statistics(plane, request.name, request.version)
    return pb.ModelStatisticsResponse(**msgspec.to_builtins(found))


async def config(plane: DataPlane, request: Any, _context: RequestContext) -> Any:
    """A model in the words that Triton's tools read."""
    found = model_config(plane, request.name, request.version)
    return pb.ModelConfigResponse(config=pb.ModelConfig(**msgspec.to_builtins(found)))


async def repository_index(plane: DataPlane, request: Any, _context: RequestContext) -> Any:
    """What is served, and what is not and why."""
    found = await index(plane, request.ready)
    return pb.RepositoryIndexResponse(models=msgspec.to_builtins(found))


async def explain(plane: DataPlane, message: Any, context: RequestContext) -> Any:
    """Explain the rows of an inference request; the answer has the form of an inference's.

    A message without inputs, with the parameters `request_id` and perhaps `index`, asks for those
    of a logged request.
    """
    if not message.inputs and "request_id" in message.parameters:
        reference = reference_of(decode_parameters(message.parameters), message.id)
        request, response = await explain_logged(
            plane, message.model_name, message.model_version, reference, None, context
        )
        return grpc_codec.encode_response(response, request)
    request = grpc_codec.decode_request(message)
    response = await explain_request(plane, request, context)
    return grpc_codec.encode_response(response, request)


async def repository_load(plane: DataPlane, request: Any, _context: RequestContext) -> Any:
    """Serve what a model's folder holds now."""
    parameters = {
        name: getattr(value, value.WhichOneof("parameter_choice") or "bool_param")
        for name, value in request.parameters.items()
    }
    await plane.control(load_order(request.model_name, parameters))
    return pb.RepositoryModelLoadResponse()


async def repository_unload(plane: DataPlane, request: Any, _context: RequestContext) -> Any:
    """Stop serving a model."""
    await plane.control(ControlMeta("unload", request.model_name))
    return pb.RepositoryModelUnloadResponse()
