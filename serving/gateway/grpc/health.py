"""gRPC's own health protocol, for probes and load balancers that know no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from google.protobuf.message import DecodeError

from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.dataplane.hooks.failed_requests import for_probe
from serving.errors import InvalidInput, ModelNotFound, ModelNotReady
from serving.gateway.grpc.frames import Disconnected
from serving.gateway.grpc.paths import SERVICE
from serving.gateway.grpc.stream_call import StreamCall, run_unless, stopping
from serving.protocol.pb import health_pb2 as pb

_WHOLE_SERVER = ("", SERVICE.strip("/"))
_SERVING = pb.HealthCheckResponse.SERVING
_NOT_SERVING = pb.HealthCheckResponse.NOT_SERVING
LOOK_AGAIN_S: Final = 1.0
"""A replica that is about to leave takes nothing new, and nobody is told until it has left."""


async def check(plane: DataPlane, request: Any, _context: RequestContext) -> Any:
    """Whether the server (no service, or the inference service) or one model can answer now.

    Raises:
        ModelNotFound: the service is neither; the protocol wants NOT_FOUND for it.
    """
    return pb.HealthCheckResponse(status=_status(plane, request.service))


def _status(plane: DataPlane, service: str) -> Any:
    if service in _WHOLE_SERVER:
        ready = plane.ready()[0]
    else:
        # Whoever balances by a model's status must go elsewhere in time as well.
        ready = plane.resolve(service).ready and not plane.leaving
    return _SERVING if ready else _NOT_SERVING


async def statuses(plane: DataPlane, service: str) -> AsyncIterator[Any]:
    """Yield a `HealthCheckResponse` at once, and again after every change.

    What is not known is SERVICE_UNKNOWN until it is: its model may be loaded later.

    Raises:
        ModelNotReady: the gateway drains, after NOT_SERVING was yielded.
    """
    last = None
    while True:
        changed, stops = plane.changed, plane.stopping.is_set()
        try:
            status = _NOT_SERVING if stops else _status(plane, service)
        except (ModelNotFound, ModelNotReady):
            status = pb.HealthCheckResponse.SERVICE_UNKNOWN
        if status != last:
            yield pb.HealthCheckResponse(status=status)
            last = status
        if stops:
            raise for_probe(stopping())
        await asyncio.wait({changed}, timeout=LOOK_AGAIN_S)


async def watch(call: StreamCall) -> None:
    """Answer one `Watch` until the client leaves or the gateway drains."""
    try:
        request = pb.HealthCheckRequest.FromString(await call.message())
    except DecodeError:
        raise InvalidInput("the message is not a valid HealthCheckRequest") from None
    if not await run_unless(call.disconnected(), _send_all(call, request.service)):
        raise Disconnected


async def _send_all(call: StreamCall, service: str) -> None:
    async for status in statuses(call.plane, service):
        await call.send(status)
