"""Guards in the gateway: built from the configuration, run over a batch."""
