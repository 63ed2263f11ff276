"""The protocol's gRPC messages to and from ours, parsed as a whole or read where they differ."""
