"""Cumulative counters in every role, and their way out: Prometheus text and OTLP."""
