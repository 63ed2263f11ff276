"""Searches a log for rows of a subject that were forgotten."""

from __future__ import annotations

from collections.abc import Callable

from serving.errors import VigilError
from serving.log.byte_search import holds
from serving.log.layout import Part, part_of
from serving.log.longer_texts import only_in_longer_texts
from serving.log.store import Store
from serving.log.subject import Key, Subject, holds_some, matches, opened_part

Progress = Callable[[str, int, int], None]
"""Is told what is done, how many files of it, and of how many."""


def rows_left(
    store: Store, subject: Subject, parts: list[Part], keys: set[Key], progress: Progress
) -> list[str]:
    """Return the paths of parts that hold rows of the subject, or with these keys."""
    left = []
    for at, part in enumerate(parts):
        progress("searching again", at, len(parts))
        found = matches(store, part, subject)
        if (found is not None and found.num_rows) or (keys and holds_some(store, part, keys)):
            left.append(part.path)
    return left


def bytes_left(store: Store, subject: Subject, paths: list[str], progress: Progress) -> list[str]:
    """Return those of `paths` in whose files the subject stands as it is.

    One that is too short is not looked for. Where it is a part of longer ones, which are other
    subjects, these are left out.
    """
    wanted = subject.text
    if not wanted:
        return []
    left = []
    for at, path in enumerate(paths):
        progress("searching bytes", at, len(paths))
        if _holds_bytes(store, path, wanted) and not _of_others(store, path, subject):
            left.append(path)
    return left


def require_none_left(subject: Subject, left: list[str]) -> None:
    """Raise VigilError if the subject is left in files."""
    if left:
        left = sorted(set(left))
        places = ", ".join(left[:5])
        raise VigilError(
            f"'{subject.value[:80]}' is still in {len(left)} files of the log: {places}"
        )


def _of_others(store: Store, path: str, subject: Subject) -> bool:
    part = part_of(path, 0)
    if part is None:
        return False
    with opened_part(store, part) as file:
        return only_in_longer_texts(file, subject.by, subject.value)


def _holds_bytes(store: Store, path: str, wanted: bytes) -> bool:
    try:
        with store.filesystem.open_input_stream(store.full(path)) as file:
            return holds(file, wanted)
    except FileNotFoundError:
        return False
