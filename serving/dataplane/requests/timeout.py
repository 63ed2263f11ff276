"""The request parameter `timeout`: for how long a client wants to wait."""

from __future__ import annotations

from serving.errors import InvalidInput


def shorter(timeout_s: float | None, microseconds: object) -> float | None:
    """Return the shorter of a transport's time in seconds and a request's parameter `timeout`.

    Raises:
        InvalidInput: the parameter is no whole number, or below 0.
    """
    if isinstance(microseconds, bool) or not isinstance(microseconds, int) or microseconds < 0:
        raise InvalidInput("parameter timeout must be a whole number of microseconds, 0 or more")
    if microseconds == 0:  # the protocol's "no timeout"
        return timeout_s
    asked = microseconds / 1e6
    return asked if timeout_s is None else min(asked, timeout_s)
