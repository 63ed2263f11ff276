"""HTTP/2 in the parts that its server (the gateway) and its client (replicas) share."""
