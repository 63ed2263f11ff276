"""`manifest.json`: the SHA-256 of every file of a version, checked before the file is used.

It finds files that were cut short, mixed up or changed by mistake. It is no signature: who
can write the weights can write the manifest too.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from serving.config import ConfigError

MANIFEST: Final = "manifest.json"


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """SHA-256 in hexadecimal by file name, relative to the version's folder."""

    sha256: dict[str, str]


def write_manifest(directory: Path, names: Iterable[str]) -> Path:
    """Write the manifest of the files `names` in `directory` and return its path."""
    return _write(
        directory, Manifest({name: _digest_file(directory / name) for name in sorted(names)})
    )


def _write(directory: Path, manifest: Manifest) -> Path:
    path = directory / MANIFEST
    path.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    return path


def write_folder_manifest(directory: Path) -> Path:
    """Write the manifest of all files in `directory`, those of its folders included.

    Left out are hidden files, caches of Python, and what may be exchanged without touching the
    model: rows in Parquet and what `vigil profile` fits.

    Raises:
        ConfigError: there is no such folder, or no file in it.
    """
    if not directory.is_dir():
        raise ConfigError(f"{directory}: no such folder; give a version's, such as models/mine/1")
    paths = [path.relative_to(directory) for path in directory.rglob("*") if path.is_file()]
    names = [path.as_posix() for path in paths if _belongs(path)]
    if not set(names) - {MANIFEST}:
        raise ConfigError(f"{directory}: has no files; put the weights, or the code, there first")
    return write_manifest(directory, set(names) - {MANIFEST})


def renew_digest(directory: Path, name: str) -> None:
    """Write the digest of a file anew where the manifest lists it, as a hand-made one may.

    Raises:
        ConfigError: the manifest is wrong.
    """
    if (directory / MANIFEST).is_file():
        listed = _read(directory).sha256
        if name in listed:
            listed[name] = _digest_file(directory / name)
            _write(directory, Manifest(listed))


def _belongs(path: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in path.parts)
    is_made = path.parts[0] == "profile" or "__pycache__" in path.parts
    return not (is_hidden or is_made or path.suffix == ".parquet")


def verified_path(directory: Path, name: str) -> Path:
    """Return the path of the file `name` after checking it against the manifest.

    Raises:
        ConfigError: the manifest is missing or wrong, or the file is not what it says.
    """
    path = inside(directory, name)
    try:
        _check(directory, name, _digest_file(path))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return path


def verified_bytes(directory: Path, name: str) -> bytes:
    """Return the content of the file `name`; exactly these bytes were checked.

    Raises:
        ConfigError: as for `verified_path`.
    """
    path = inside(directory, name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    _check(directory, name, hashlib.sha256(content).hexdigest())
    return content


def verify_all(directory: Path) -> None:
    """Check every file that the manifest lists.

    Raises:
        ConfigError: as for `verified_path`.
    """
    for name in _read(directory).sha256:
        verified_path(directory, name)


def inside(directory: Path, name: str, what: str = "the version's folder") -> Path:
    """Return the path of the file `name`, which must lie in `directory`, links followed.

    `what` is what errors call the directory.

    Raises:
        ConfigError: it lies elsewhere, or is a pipe or a device, whose reading might never end.
    """
    path = directory / name
    try:
        real = path.resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or "is no path"
        raise ConfigError(f"{path}: {why}") from None
    if not real.is_relative_to(directory.resolve()):
        raise ConfigError(f"{path}: lies outside {what}; copy the file into it")
    if not real.is_file():
        raise ConfigError(f"{path}: is no regular file")
    return path


def _read(directory: Path) -> Manifest:
    path = directory / MANIFEST
    try:
        return msgspec.json.decode(inside(directory, MANIFEST).read_bytes(), type=Manifest)
    except ConfigError as error:
        raise ConfigError(f"{error.message}; `vigil manifest {directory}` writes it") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {error}") from None


def _check(directory: Path, name: str, digest: str) -> None:
    path = directory / MANIFEST
    manifest = _read(directory)
    if name not in manifest.sha256 and not _belongs(Path(name)):
        raise ConfigError(
            f"{path}: does not list {name}, and `vigil manifest` leaves out hidden files, "
            f"*.parquet, profile/ and __pycache__/; give the file a name that is none of these"
        )
    if name not in manifest.sha256:
        raise ConfigError(
            f"{path}: does not list {name}, so it is not used; if it belongs there, "
            f"`vigil manifest {directory}` writes the list anew"
        )
    if not hmac.compare_digest(manifest.sha256[name].lower(), digest):
        raise ConfigError(
            f"{directory / name}: its SHA-256 is not the one in {MANIFEST}; restore the file, or, "
            f"if it was changed on purpose, `vigil manifest {directory}` writes the list anew"
        )


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
