"""What is known of each model format without loading a model, in one list."""
