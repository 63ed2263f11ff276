"""The formats in which a model can come, each behind the same contract."""
