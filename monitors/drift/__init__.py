"""Monitors that judge whether a model's inputs have changed."""
