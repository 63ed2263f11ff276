"""Explanation methods, each made for a model by a file of its own."""
