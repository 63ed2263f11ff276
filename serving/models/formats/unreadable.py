"""What to say of a pickle that cannot be read."""

from __future__ import annotations

from pathlib import Path

from serving.config import ConfigError


def unreadable(file: Path, error: Exception) -> ConfigError:
    """Return the error for a pickle that raised `error` when it was read."""
    message = " ".join(str(error).split())[:300]
    return ConfigError(f"{file}: cannot be read: {type(error).__name__}: {message}")
