"""The direct ingress: HTTP/1.1 and HTTP/2 spoken by the gateway process itself."""
