"""Guards in the configuration: one file a guard, and the list of all of them."""
