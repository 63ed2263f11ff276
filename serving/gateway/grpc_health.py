"""gRPC's own health protocol, for probes and load balancers that know no other."""

from __future__ import annotations

from typing import Any

from serving.dataplane.handler import DataPlane
from serving.gateway.grpc_paths import SERVICE
from serving.protocol.pb import health_pb2 as pb

_WHOLE_SERVER = ("", SERVICE.strip("/"))


async def check(plane: DataPlane, request: Any, _timeout_s: float | None) -> Any:
    """Whether the server (no service, or the inference service) or one model can answer now.

    Raises:
        ModelNotFound: the service is neither; the protocol wants NOT_FOUND for it.
    """
    if request.service in _WHOLE_SERVER:
        ready = plane.ready()[0]
    else:
        ready = plane.resolve(request.service).ready
    status = pb.HealthCheckResponse.SERVING if ready else pb.HealthCheckResponse.NOT_SERVING
    return pb.HealthCheckResponse(status=status)
