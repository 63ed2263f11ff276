"""Where finished files go: a local folder, or any file system that pyarrow or fsspec know."""

from __future__ import annotations

import contextlib
import copy
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import fsspec
import pyarrow as pa
from pyarrow import fs as pafs

from serving.errors import VigilError

TEMPORARY: Final = ".unfinished"
_OWN: Final = ("s3", "gs", "gcs", "hdfs", "abfs", "abfss")
"""Schemes that pyarrow has a file system of its own for."""
_NOT_COPIED: Final = ("smart_defaults=", "tls_ca_dir_path=", "tls_verify_certificates=")
"""Parameters of S3 URLs that pyarrow's constructor of the file system does not know."""
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/:@?#\s]*:[^@?#\s]*(?=@)")


class UnknownStore(VigilError):
    """The URL of the log names nothing that can hold files."""


class Store:
    """A folder of a file system. Files appear in it whole or not at all.

    Attributes:
        local: its path, where it is a folder of this machine.
    """

    def __init__(self, filesystem: Any, root: str, local: Path | None = None) -> None:
        self.filesystem = filesystem
        self.local = local
        self._root = root.rstrip("/")

    def full(self, path: str) -> str:
        """Return a path as the file system names it."""
        return f"{self._root}/{path}"

    def write(self, path: str, write: Callable[[Any], None], *, private: bool = False) -> None:
        """Make a file; `write` gets a stream of bytes.

        Args:
            private: on a local disk only its owner can read it.

        Raises:
            OSError, pyarrow.ArrowException: it was not made.
        """
        folder, _, name = path.rpartition("/")
        # Readers of datasets leave out what begins with a dot.
        temporary = self.full(f"{folder}/.{name}{TEMPORARY}")
        try:
            self.filesystem.create_dir(self.full(folder), recursive=True)
            if self.local is not None:
                self._write_local(Path(temporary), write, 0o600 if private else 0o644)
            else:
                with self.filesystem.open_output_stream(temporary) as stream:
                    write(stream)
            self.filesystem.move(temporary, self.full(path))
        except BaseException:
            with contextlib.suppress(OSError, pa.ArrowException):
                self.filesystem.delete_file(temporary)
            raise

    def _write_local(self, path: Path, write: Callable[[Any], None], mode: int) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(descriptor)  # the stream that it is made from goes away next

    def delete(self, path: str) -> None:
        """Delete a file, if it is there.

        Raises:
            OSError: it is still there.
        """
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_file(self.full(path))

    def files(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield (path, bytes) of every file below a folder, which may be missing.

        Raises:
            OSError: the store cannot be reached.
        """
        selector = pafs.FileSelector(self.full(folder), recursive=True, allow_not_found=True)
        start = len(self.full("").lstrip("/"))
        for info in self.filesystem.get_file_info(selector):
            if info.type == pafs.FileType.File:
                yield info.path.lstrip("/")[start:], info.size or 0

    def read(self, path: str) -> bytes:
        """Return the content of a file.

        Raises:
            OSError: it cannot be read.
        """
        with self.filesystem.open_input_file(self.full(path)) as file:
            content: bytes = file.read()
        return content


class LateStore(Store):
    """A store that is opened when it is first used, and again until that has worked.

    Opening one asks it where its data lie, and it may be away.

    Args:
        url: as for `open_store`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: Store | None = None
        self.local = None

    @property
    def filesystem(self) -> Any:
        """The file system.

        Raises:
            OSError: it cannot be opened.
        """
        if self._opened is None:
            try:
                self._opened = open_store(self._url)
            except UnknownStore as error:
                raise OSError(str(error)) from None
        return self._opened.filesystem

    def full(self, path: str) -> str:
        """Return a path as the file system names it.

        Raises:
            OSError: it cannot be opened.
        """
        assert self.filesystem is not None
        assert self._opened is not None, "the file system comes of it"
        return self._opened.full(path)


def open_store(url: str) -> Store:
    """Return the store at a path, a `file://` URL, or one of another scheme.

    Raises:
        UnknownStore: its scheme is unknown, or needs a package that is not installed.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        path = Path(rest if separator else url).absolute()
        return Store(pafs.LocalFileSystem(), str(path), path)
    try:
        if scheme in _OWN:
            filesystem, root = pafs.FileSystem.from_uri(url.replace("gcs://", "gs://", 1))
            if scheme == "s3" and not any(name in url for name in _NOT_COPIED):
                # One made from a URL tries each request eleven times, for 12 s, and a process does
                # not end meanwhile. A copy comes from the constructor, whose default is three.
                filesystem = copy.copy(filesystem)
            return _folder(url, filesystem, root)
        found, root = fsspec.core.url_to_fs(url)
        return _folder(url, pafs.PyFileSystem(pafs.FSSpecHandler(found)), root)
    except (ImportError, ValueError, OSError, pa.ArrowException) as error:
        raise UnknownStore(f"log.url: '{shown(url)}' cannot be used: {shown(str(error))}") from None


def shown(text: str) -> str:
    """Return a text with the credentials in its URLs left out, for messages."""
    return _CREDENTIALS.sub("***", text)


def _folder(url: str, filesystem: Any, root: str) -> Store:
    if not root.strip("/"):
        raise UnknownStore(f"log.url: '{shown(url)}' cannot be used: it names no folder")
    return Store(filesystem, root)
