"""Generated protobuf and gRPC modules; `python -m serving.protocol.pb.generate` remakes them."""
