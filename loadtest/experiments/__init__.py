"""Seeded experiments: what is promised of verdicts, measured."""
