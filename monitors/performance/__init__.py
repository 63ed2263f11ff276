"""Monitors that judge a model by the truth, and the join that brings the truth to predictions."""
