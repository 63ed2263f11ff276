"""Finding out what another server serves, and making a model repository of it."""
