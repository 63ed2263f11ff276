"""gRPC in the ASGI app: frames, methods, streams, health, reflection."""
