"""One small JSON file of state, replaced as a whole, that tells whether it is what was written."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

FORMAT: Final = 2
"""Changes whenever a release writes what an earlier one could not read, or the other way round."""


class _Envelope(msgspec.Struct):
    format: int
    sha256: str
    state: msgspec.Raw


class _AnyFormat(msgspec.Struct):
    format: int


class UnreadableState(Exception):
    """A file of state cannot be used; the message says why."""


def write_state(path: Path, state: bytes) -> None:
    """Replace the file by `state`, JSON; a reader sees the old state or the new one.

    It is on disk when this returns: what it makes superfluous may be deleted.

    Raises:
        OSError: the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest = hashlib.sha256(state).hexdigest()
    temporary = path.with_suffix(".new")
    # Counts per group are nobody else's business.
    with open_private(temporary, 0) as file:
        file.write(msgspec.json.encode(_Envelope(FORMAT, digest, msgspec.Raw(state))))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def read_state(path: Path) -> bytes | None:
    """Return what was written last, JSON; None when there is no file.

    Raises:
        UnreadableState: it cannot be read, is damaged, or is of another format.
    """
    try:
        content = path.read_bytes()
        found = msgspec.json.decode(content, type=_AnyFormat).format
        if found != FORMAT:
            age = "a newer" if found > FORMAT else "an older"
            raise UnreadableState(f"its format {found} is {age} release's; this one has {FORMAT}")
        envelope = msgspec.json.decode(content, type=_Envelope)
        if hashlib.sha256(envelope.state).hexdigest() != envelope.sha256:
            raise UnreadableState("it is damaged: its SHA-256 is not the one that it names")
        return bytes(envelope.state)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreadableState(str(error.strerror)) from None
    except msgspec.DecodeError as error:
        raise UnreadableState(f"it is damaged: {error}") from None


def sync_folder(folder: Path) -> None:
    """Have the disk hold which files there are.

    Raises:
        OSError: it may not.
    """
    listing = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(listing)
    finally:
        os.close(listing)


def open_private(path: Path, size: int) -> BinaryIO:
    """Open a file that only the owner can read, to write after its first `size` bytes."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.truncate(descriptor, size)
    os.lseek(descriptor, size, os.SEEK_SET)
    return os.fdopen(descriptor, "wb")
