"""Reads one member of a zip archive that may be hostile, without reading the rest of it."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from serving.config import ConfigError

MOST_INDEX: Final = 8 << 20
"""Bytes of an archive's index; Python makes an object of each of its entries."""
MOST_MEMBER: Final = 64 << 20
_CHUNK: Final = 1 << 20


def read_member(
    path: Path, wanted: Callable[[str], bool], what: str, content: BinaryIO | None = None
) -> bytes:
    """Return the one member of the archive at `path` whose name is `wanted`.

    Args:
        path: the archive.
        wanted: tells by its name whether a member is the one.
        what: what errors call an archive that has it.
        content: the archive where it has been read already; errors name `path` all the same.

    Raises:
        ConfigError: there is none or there are several, it is larger than `MOST_MEMBER`, or the
            file is damaged or no archive.
    """
    try:
        with content or _File(path) as file, zipfile.ZipFile(file) as archive:
            found = [member for member in archive.infolist() if wanted(member.filename)]
            if len(found) != 1:
                raise ConfigError(f"{path}: is no {what}")
            if found[0].file_size > MOST_MEMBER:
                raise ConfigError(f"{path}: its description has more than {MOST_MEMBER >> 20} MiB")
            with archive.open(found[0]) as member:
                return b"".join(iter(lambda: member.read(_CHUNK), b""))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (
        zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError
    ) as error:  # fmt: skip
        raise ConfigError(f"{path}: is no {what}: {' '.join(str(error).split())[:200]}") from None


class _File(io.FileIO):
    """Refuses to be read in large pieces: `ZipFile` takes the index in one, however large."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MOST_INDEX:
            raise zipfile.BadZipFile("its index is too large")
        # Only the end is read without a size, and that has at most 64 KiB.
        return super().read(MOST_INDEX if size is None or size < 0 else size) or b""
