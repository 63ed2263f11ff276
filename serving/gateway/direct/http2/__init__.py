"""HTTP/2 (RFC 9113) and gRPC as the direct ingress speaks them."""
