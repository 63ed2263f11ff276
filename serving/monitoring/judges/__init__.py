"""The monitors that can run for a model: which ones, how they are built, and one that runs."""
