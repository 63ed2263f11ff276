"""Long texts of a saved state, in files of their own: what seldom changes is written once.

A checkpoint is written every few seconds. What a law of alarms knows is megabytes of text that stay
the same for many windows. Such a text is replaced by the digest of its content, which names a file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from serving.monitoring.state_file import open_private, sync_folder

LONG: Final = 40_000
"""Characters from which on a text has a file of its own; shorter ones cost less where they are."""
REFERENCE: Final = "$text"
"""Key of what stands in a state instead of a long text."""

_SUFFIX: Final = ".text"


class LongTexts:
    """Files `<name>.<SHA-256>.text` of a checkpoint. Not thread-safe.

    Args:
        folder, name: see `Checkpoint`.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        # By identity, so that nothing is hashed again at every save.
        self._digests: dict[int, tuple[str, str]] = {}
        self._written: set[str] = set()

    def paths(self) -> list[Path]:
        """Return the files that are there."""
        return sorted(self._folder.glob(f"{self._name}.{'?' * 64}{_SUFFIX}"))

    def shorten(self, state: Any) -> tuple[Any, dict[str, str]]:
        """Return a state without long texts, and those texts by digest; it is not written to.

        Texts are found as values of dictionaries, and in lists whose first item is one.
        """
        found: dict[int, tuple[str, str]] = {}

        def reference(each: Any) -> Any:
            if not isinstance(each, str) or len(each) < LONG:
                return each
            found[id(each)] = self._digests.get(id(each)) or (each, _digest(each))
            return {REFERENCE: found[id(each)][1]}

        short = _mapped(state, reference)
        self._digests = found
        return short, {digest: text for text, digest in found.values()}

    def lengthen(self, state: Any) -> Any:
        """Return what `shorten` was given.

        A text whose file is missing or damaged stays the reference that it was: who needs it
        begins anew, and the others go on. Files that nothing refers to are deleted.

        Raises:
            OSError: one cannot be deleted.
        """
        self._written, self._digests = set(), {}

        def text(each: Any) -> Any:
            if not isinstance(each, dict) or each.keys() != {REFERENCE}:
                return each
            digest = each[REFERENCE]
            found = _read(self._path(digest))
            if found is None or _digest(found) != digest:
                return each
            self._written.add(digest)
            self._digests[id(found)] = (found, digest)
            return found

        whole = _mapped(state, text)
        self._delete(self._written)
        return whole

    def write(self, texts: Mapping[str, str]) -> None:
        """Write those that are not there yet; they are on disk when this returns.

        Raises:
            OSError: one cannot be written.
        """
        new = texts.keys() - self._written
        for digest in sorted(new):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = self._folder / f"{self._name}{_SUFFIX}.new"
            with open_private(temporary, 0) as file:
                file.write(texts[digest].encode())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path(digest))
            self._written.add(digest)
        if new:
            sync_folder(self._folder)

    def keep(self, texts: Mapping[str, str]) -> None:
        """Delete all others. Call it when no checkpoint in force refers to them.

        Raises:
            OSError: one cannot be deleted.
        """
        if not self._written <= texts.keys():
            self._delete(texts.keys())
            self._written &= texts.keys()

    def _delete(self, but: Collection[str]) -> None:
        kept = {self._path(digest) for digest in but}
        for path in self.paths():
            if path not in kept:
                path.unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._folder / f"{self._name}.{digest}{_SUFFIX}"


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a value in which some were changed; what has none of these is returned itself."""
    changed = change(value)
    if changed is not value:
        return changed
    if isinstance(value, dict):
        made = {name: _mapped(each, change) for name, each in value.items()}
        return value if all(made[name] is each for name, each in value.items()) else made
    # Long lists have numbers or findings in them: only their first item is looked at.
    if isinstance(value, list) and value and change(value[0]) is not value[0]:
        return [change(each) for each in value]
    return value


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except (OSError, ValueError):
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
