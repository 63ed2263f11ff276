"""What errors of SQLAlchemy and of its drivers mean."""

from __future__ import annotations

from typing import Final

from sqlalchemy import exc

from serving.store.failures import Reason

_TEXTS: Final[tuple[tuple[Reason, tuple[str, ...]], ...]] = (
    ("locked", ("locked", "lock timeout", "canceling statement due to")),
    ("full", ("full", "no space left")),
    ("damaged", ("malformed", "not a database", "corrupt")),
)
"""Parts of drivers' messages: SQLite tells these apart by words alone."""
_FOR_NOW: Final = (exc.OperationalError, exc.InterfaceError, exc.InternalError)


def reason_of(error: Exception) -> Reason:
    """Return the kind of failure that an error of SQLAlchemy, of its driver or of a file means."""
    if isinstance(error, ImportError):
        return "driver"
    by_driver = isinstance(error, exc.DBAPIError)
    text = str(error.orig if isinstance(error, exc.DBAPIError) else error).lower()
    for reason, parts in _TEXTS:
        if any(part in text for part in parts):
            return reason
    if by_driver and not isinstance(error, _FOR_NOW):
        return "refused"
    return "away"
