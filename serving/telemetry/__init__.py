"""Cumulative counters in every role and their way out, and the log."""
