"""Metrics on their way out: Prometheus text, and OTLP in a thread of its own."""
