"""Guards that judge the penultimate activations of a row."""
