"""What lies in the repository, as the directory tells everybody of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from serving.channel.directory import ServedModel
from serving.dataplane.served import encode_config
from serving.models.repository import ModelEntry

REVISION_DIGITS: Final = 12


def served_model(entry: ModelEntry) -> ServedModel:
    """Return an entry as the directory carries it, with the revision of its files."""
    return ServedModel(
        entry.name,
        entry.version,
        encode_config(entry.config),
        str(entry.directory.absolute()),
        entry.example,
        _revision(entry),
    )


def _revision(entry: ModelEntry) -> str:
    """Digest of configuration, example, and the files' names, sizes and times."""
    # Which versions are served says nothing about what each of them is.
    config = entry.config.model_copy(update={"versions": "latest"})
    digest = hashlib.sha256(encode_config(config))
    digest.update(entry.example or b"")
    for path in sorted(_files(entry.directory)):
        about = path.stat()
        name = path.relative_to(entry.directory).as_posix()
        digest.update(f"{name}\0{about.st_size}\0{about.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:REVISION_DIGITS]


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        # Python writes caches beside the code that it imports.
        if path.is_file() and "__pycache__" not in path.parts:
            yield path
