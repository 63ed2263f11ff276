"""Paths of gRPC methods; apart from the methods, for who needs to know only where they are."""

from __future__ import annotations

from typing import Final

SERVICE: Final = "/inference.GRPCInferenceService/"
HEALTH: Final = "/grpc.health.v1.Health/"
STREAM_INFER: Final = SERVICE + "ModelStreamInfer"
"""The one method that is no unary call."""
EXPLAIN: Final = "/vigil.Explain/Explain"
"""Takes and answers the messages of `ModelInfer`."""
