"""Not a test: a client of gRPC's health protocol that watches a service."""

import queue
import threading
from typing import Any

import grpc

from serving.protocol.pb import health_pb2


class Watcher:
    """A `Watch` whose statuses arrive in a queue; its last item is the code that ended it."""

    def __init__(self, address: str, service: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._call = self._channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest(service=service))
        self._seen: queue.Queue[Any] = queue.Queue()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        try:
            for answer in self._call:
                self._seen.put(answer.status)
        except grpc.RpcError as error:
            self._seen.put(error.code())

    def next(self) -> Any:
        return self._seen.get(timeout=60)

    def leave(self) -> None:
        self._call.cancel()
        self._thread.join()
        self._channel.close()
