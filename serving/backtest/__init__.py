"""The monitors of a model over rows of the past, as if they came now."""
