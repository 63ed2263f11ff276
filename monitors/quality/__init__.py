"""Monitors that judge whether a model's answers can be answers at all."""
