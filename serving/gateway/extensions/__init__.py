"""Extensions of the protocol and Vigil's own, shared by HTTP and gRPC."""
