"""Slices of rows on which a model is worst, found without being named, and why it got worse."""
