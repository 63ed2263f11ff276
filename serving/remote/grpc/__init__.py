"""A client's gRPC calls to other servers, over a connection of our own."""
