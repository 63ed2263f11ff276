"""Paths of gRPC methods; apart from the methods, for who needs to know only where they are."""

from __future__ import annotations

from typing import Final

SERVICE: Final = "/inference.GRPCInferenceService/"
HEALTH: Final = "/grpc.health.v1.Health/"
STREAM_INFER: Final = SERVICE + "ModelStreamInfer"
WATCH: Final = HEALTH + "Watch"
REFLECTION: Final = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
REFLECTION_ALPHA: Final = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
LONG_LIVED: Final = (STREAM_INFER, WATCH)
"""Streams on which nothing may be said for hours."""
EXPLAIN: Final = "/vigil.Explain/Explain"
"""Takes and answers the messages of `ModelInfer`."""
LABELS_PUSH: Final = "/vigil.Labels/Push"
