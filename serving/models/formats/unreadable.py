"""What to say of a pickle that cannot be read or converted."""

from __future__ import annotations

from pathlib import Path

from serving.config import ConfigError


def unreadable(file: Path, error: BaseException, what: str = "read") -> ConfigError:
    """Return the error for a pickle that raised `error` when it was read, or as `what` says."""
    message = " ".join(str(error).split())[:300]
    return ConfigError(f"{file}: cannot be {what}: {type(error).__name__}: {message}")
