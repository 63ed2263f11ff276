"""Length-prefixed frames between roles: one multiplexed connection, tensors as raw bytes."""
