"""A private folder for the sockets of one instance, in the folder for temporary files."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from serving.config import ConfigError

_LONGEST_SOCKET: Final = 107
"""Bytes that the path of a Unix socket may have; see unix(7)."""
_LONGEST_NAME: Final = 32
"""What the names of our sockets may take of that."""


def make_runtime_folder() -> Path:
    """Make the folder; it is readable by its owner only.

    Raises:
        ConfigError: no folder for temporary files can be written to, or its path is too long.
    """
    parent = temporary_folder()
    if len(f"{parent}/vigil-12345678/".encode()) + _LONGEST_NAME > _LONGEST_SOCKET:
        raise ConfigError(
            f"{parent}: the path is too long for sockets; set TMPDIR to a folder with a short one"
        )
    try:
        return Path(tempfile.mkdtemp(prefix="vigil-", dir=parent))
    except OSError as error:
        raise _unusable(f"cannot be written to ({error.strerror})", parent) from None


@contextlib.contextmanager
def runtime_folder() -> Iterator[Path]:
    """Make the folder, and remove it at the end.

    Raises:
        ConfigError: as `make_runtime_folder`.
    """
    folder = make_runtime_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def temporary_folder() -> str:
    """Return the folder for temporary files.

    Raises:
        ConfigError: there is none that can be written to.
    """
    try:
        return tempfile.gettempdir()
    except OSError:  # its message lists what was tried, and says nothing of what to do
        raise _unusable("cannot be written to") from None


def _unusable(why: str, folder: str = "the folder for temporary files") -> ConfigError:
    return ConfigError(
        f"{folder} {why}; set TMPDIR to a folder that can be, such as a volume of the container"
    )
