"""How requests may end: a closed set of attribute values, which no client can extend.

`docs/metrics.md` has them in a table, with what each counts as by a model's objectives.
"""

from __future__ import annotations

from typing import Final

OUTCOME_OK: Final = "ok"
"""The request was answered with outputs."""
OUTCOME_INVALID: Final = "invalid"
"""The client's request was wrong."""
OUTCOME_REJECTED: Final = "rejected"
"""A guard refused it."""
OUTCOME_OVERLOADED: Final = "overloaded"
"""No room: it was refused before it waited."""
OUTCOME_DEADLINE: Final = "deadline"
"""Its deadline passed."""
OUTCOME_UNAVAILABLE: Final = "unavailable"
"""No replica was there to answer."""
OUTCOME_FAILED: Final = "failed"
"""The model or the server failed."""
OUTCOME_ABANDONED: Final = "abandoned"
"""The client went away before the answer."""

ABOUT_INPUTS: Final = frozenset({OUTCOME_INVALID, OUTCOME_REJECTED, OUTCOME_FAILED})
"""Outcomes that may be due to what a request holds; the others are due to when it came."""

SERVER_FAULTS: Final = frozenset(
    {OUTCOME_OVERLOADED, OUTCOME_DEADLINE, OUTCOME_UNAVAILABLE, OUTCOME_FAILED}
)
"""Outcomes that are the server's fault: these make the error rate.

A model's objectives concern these and `ok`, and no other outcome.
"""
