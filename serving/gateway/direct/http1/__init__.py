"""HTTP/1.1 (RFC 9112) as the direct ingress speaks it."""
