"""Guards in the gateway: run over a batch, and what their decisions do to its requests."""
