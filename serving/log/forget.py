"""Takes the rows of one subject out of a log, for good.

`forget` does it while no writer runs; `forget_running` does it beside one, by the same steps.

Every file that holds such a row is written anew without it, in the place of the old one: whoever
is interrupted does it again, and nothing is lost or double. A reader that looks at a file while it
is replaced sees the old rows or the new ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

import pyarrow.compute as pc

from serving.errors import InvalidInput, VigilError
from serving.log.forget_labels import Labelled, forget_labels, labels_left
from serving.log.forget_search import Progress, bytes_left, require_none_left, rows_left
from serving.log.layout import Dataset, Part, model_folder, model_of
from serving.log.retention import all_parts
from serving.log.roll import replace_part, roll
from serving.log.spool import SpoolFolder, streams_in
from serving.log.store import TEMPORARY, Store
from serving.log.subject import (
    CLIENT_ID,
    Key,
    Subject,
    holds_some,
    matches,
    opened_part,
    rows_with,
)


class WriterRuns(VigilError):
    """A writer has streams of this log open."""


@dataclass(slots=True)
class Forgotten:
    """What was done.

    Attributes:
        rows: rows taken out, by dataset.
        labelled: what labels of these rows are told by.
        rewritten: paths of files within the log that were written anew.
        deleted: paths of files that held nothing else.
        searched: files that were searched for the subject afterwards.
        known: whether a file of the log has the column that says whose rows they are, or there
            is no file.
    """

    rows: dict[str, int] = field(default_factory=dict)
    labelled: set[Labelled] = field(default_factory=set)
    rewritten: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    searched: int = 0
    known: bool = True

    def client_ids(self) -> dict[str, set[str]]:
        """Return the clients' ids of these rows by model: two models may have got the same one."""
        found: dict[str, set[str]] = {}
        for model, ident, _ in self.labelled:
            found.setdefault(model, set()).add(ident)
        return found


def forget(
    store: Store,
    spool: Path,
    subject: Subject,
    progress: Progress = lambda _what, _done, _of: None,
    found: Callable[[Forgotten], None] = lambda _found: None,
) -> Forgotten:
    """Take out all rows of a subject, in all datasets, and prove it.

    What dead writers have left in streams becomes files first.

    Args:
        store, spool: of the log.
        subject: whose rows.
        progress: is told how far it is.
        found: is told of which requests the rows are, before anything is deleted: whoever is
            interrupted then finds them again.

    Raises:
        Exception: what `found` raises.
        WriterRuns: a writer runs; nothing was changed.
        InvalidInput: no file of the log has such a column; nothing was changed.
        VigilError: the subject is still somewhere; the message says where.
        OSError, pyarrow.ArrowException: a file could not be read or written. Do it again.
    """
    done = Forgotten()
    with _no_writer(spool) as folders:
        for folder in folders:
            for stream in streams_in(folder.path):
                roll(stream, store)
        parts, labels = parts_of(store, subject), label_parts_of(store, subject)
        keys, parts = find_rows(store, subject, parts, done, progress)
        if not done.known:
            raise unknown_column(subject)
        found(done)
        take_labels_out(store, subject, labels, done)
        take_out(store, parts, keys, done, progress)
        _delete_unfinished(store, done)
        left = rows_left(store, subject, parts_of(store, subject), keys, progress)
        left += labels_left(store, label_parts_of(store, subject), done.labelled, subject.ident)
        below = "" if subject.model is None else f"/{model_folder(subject.model)}/"
        paths = [path for path, _ in store.files("") if below in f"/{path}"]
        left += bytes_left(store, subject, paths, progress)
        done.searched = len(paths)
        require_none_left(subject, left)
    return done


def unknown_column(subject: Subject) -> InvalidInput:
    """Return the error of a subject whose column no file has."""
    return InvalidInput(f"--by: no file of the log has a column '{subject.by[:80]}'")


@contextlib.contextmanager
def _no_writer(spool: Path) -> Iterator[list[SpoolFolder]]:
    """Hold the folders of all writers, which are dead, so that no other one takes them over."""
    held: list[SpoolFolder] = []
    try:
        for path in sorted(spool.iterdir()) if spool.is_dir() else ():
            if path.is_dir():
                try:
                    held.append(SpoolFolder(path))
                except BlockingIOError:
                    raise WriterRuns(
                        f"{path}: an instance is writing this log; name its admin listener with "
                        "--admin, or stop it first, since what it holds in memory would come after"
                    ) from None
        yield held
    finally:
        for folder in held:
            folder.remove()


def parts_of(store: Store, subject: Subject) -> list[Part]:
    """Return the parts that may hold rows of a subject.

    Raises:
        OSError: the store cannot be reached.
    """
    return _parts(store, subject, ("predictions", "sensitive"))


def label_parts_of(store: Store, subject: Subject) -> list[Part]:
    """Return the parts that may hold labels of a subject's rows.

    Raises:
        OSError: the store cannot be reached.
    """
    return _parts(store, subject, ("labels",))


def _parts(store: Store, subject: Subject, datasets: tuple[Dataset, ...]) -> list[Part]:
    return all_parts(store, datasets, "" if subject.model is None else model_folder(subject.model))


def find_rows(
    store: Store, subject: Subject, parts: list[Part], done: Forgotten, progress: Progress
) -> tuple[set[Key], list[Part]]:
    """Return the keys of all rows of a subject, and the parts in the order of their rewriting.

    Those that tell whose rows they hold come last: whoever is interrupted finds the keys again.
    """
    keys: set[Key] = set()
    without: list[Part] = []
    telling: list[Part] = []
    for at, part in enumerate(parts):
        progress("looking for rows", at, len(parts))
        found = matches(store, part, subject)
        if found is None:
            without.append(part)
            continue
        telling.append(part)
        keys.update(zip(found["id"].to_pylist(), found["row"].to_pylist(), strict=True))
        told_by = found[CLIENT_ID].to_pylist(), found["index"].to_pylist()
        done.labelled.update(zip(repeat(model_of(part.folder)), *told_by))
    done.known = bool(telling) or not parts
    return keys, without + telling


def take_out(
    store: Store, parts: list[Part], keys: set[Key], done: Forgotten, progress: Progress
) -> None:
    """Write the parts anew that hold rows with these keys, in the order given.

    Raises:
        OSError, pyarrow.ArrowException: one could not be; it is as it was.
    """
    for at, part in enumerate(parts):
        progress("rewriting files", at, len(parts))
        _rewrite(store, part, keys, done)


def _rewrite(store: Store, part: Part, keys: set[Key], done: Forgotten) -> None:
    if not keys or not holds_some(store, part, keys):
        return
    with opened_part(store, part) as file:
        table = file.read()
    mask = rows_with(table, keys)
    taken = int(pc.sum(mask).as_py())
    kept = table.filter(pc.invert(mask)).combine_chunks()
    left = replace_part(store, part, table, kept)
    done.rows[part.dataset] = done.rows.get(part.dataset, 0) + taken
    (done.rewritten if left else done.deleted).append(part.path)


def take_labels_out(store: Store, subject: Subject, parts: list[Part], done: Forgotten) -> None:
    """Write the parts anew that hold labels of these rows, before those that tell whose they are.

    Raises:
        OSError, pyarrow.ArrowException: one could not be; it is as it was.
    """
    gone = forget_labels(store, parts, done.labelled, subject.ident)
    if gone:
        done.rows["labels"] = sum(each.rows for each in gone)
    for each in gone:
        (done.rewritten if each.left else done.deleted).append(each.path)


def _delete_unfinished(store: Store, done: Forgotten) -> None:
    """Delete what writers that were killed have left half-written."""
    for path, _ in store.files(""):
        if path.endswith(TEMPORARY):
            store.delete(path)
            done.deleted.append(path)
