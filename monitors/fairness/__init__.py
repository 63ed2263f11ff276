"""Monitors that judge whether a model treats groups alike: counts, disparities and verdicts."""
