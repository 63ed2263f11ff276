"""gRPC server reflection in Serve's own gRPC proxies, which answer it themselves.

Serve's switch for it describes what is in protobuf's default pool, and our messages are not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from serving.gateway.grpc.paths import REFLECTION, REFLECTION_ALPHA
from serving.gateway.grpc.reflection import answer
from serving.protocol.pb import reflection_v1_pb2, reflection_v1alpha_pb2


def add_reflection_to_server(_servicer: Any, server: Any) -> None:
    """Add both versions of the protocol to a proxy's server.

    It tells everybody the same, and nothing of the instance, so whoever reaches the proxy may ask.
    """
    for path, pb in ((REFLECTION, reflection_v1_pb2), (REFLECTION_ALPHA, reflection_v1alpha_pb2)):
        _, service, method = path.split("/")
        handler = grpc.stream_stream_rpc_method_handler(
            _answers(pb),
            request_deserializer=pb.ServerReflectionRequest.FromString,
            response_serializer=pb.ServerReflectionResponse.SerializeToString,
        )
        # Otherwise the proxy would send the calls to the deployment that is the gateway.
        server.add_passthrough_service(service)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )


def _answers(pb: Any) -> Callable[[AsyncIterator[Any], Any], AsyncIterator[Any]]:
    async def answers(questions: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        async for question in questions:
            yield answer(question, pb)

    return answers
