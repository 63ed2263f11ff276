"""What there is to ask for: each route, gRPC method and admin page has one of these."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """A kind of request that may be allowed or not as a whole."""

    __hash__ = str.__hash__
    """An enumeration's own is a call of Python, and every request looks its scope up."""

    HEALTH = "health"
    """Whether the server or a model is alive and ready."""
    METADATA = "metadata"
    """What is served, its inputs, outputs and configuration, and the description of the API."""
    INFER = "infer"
    """Have a model answer."""
    EXPLAIN = "explain"
    """Have an answer of a model explained."""
    LABEL = "label"
    """Tell what was true, for judgements of accuracy."""
    RECORD = "record"
    """Tell what others were asked and answered."""
    OBSERVE = "observe"
    """Read what was found in others' requests: statistics, findings, reports, metrics."""
    CONTROL = "control"
    """Load, unload and set, and read the settings."""
