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
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.errors import InvalidInput, VigilError
from serving.log.byte_search import holds
from serving.log.forget_labels import Labelled, forget_labels, labels_left
from serving.log.layout import Dataset, Part, model_folder, model_of, part_of
from serving.log.longer_texts import only_in_longer_texts
from serving.log.retention import all_parts
from serving.log.roll import ROW_GROUP, replace_part, roll
from serving.log.spool import SpoolFolder, streams_in
from serving.log.store import TEMPORARY, Store

CLIENT_ID: Final = "client_id"
SHORTEST_TEXT: Final = 6
"""Bytes of a subject that files are searched for as they are; fewer stand everywhere by chance."""

Key = tuple[bytes, int]
"""Id of a batch, and the row in it."""
Progress = Callable[[str, int, int], None]
"""Is told what is done, how many files of it, and of how many."""


class WriterRuns(VigilError):
    """A writer has streams of this log open."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose rows are meant: those with this text in the column `by`, of one model or of all.

    Attributes:
        value: the text; a column of numbers is compared with the number that it writes.
        by: the column.
        model: its name; None: every model.
    """

    value: str
    by: str = CLIENT_ID
    model: str | None = None


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
        left += labels_left(store, label_parts_of(store, subject), done.labelled, ident_of(subject))
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
        found = _matches(store, part, subject)
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


def _matches(store: Store, part: Part, subject: Subject) -> Any:
    """Return id, row, client_id and index of the rows of a subject; None without its column."""
    with _opened(store, part) as file:
        names = file.schema_arrow.names
        if subject.by not in names:
            return None
        columns = list(dict.fromkeys(("id", "row", CLIENT_ID, "index", subject.by)))
        tables = [file.schema_arrow.empty_table().select(columns)]
        for batch in file.iter_batches(ROW_GROUP, columns=columns):
            table = pa.Table.from_batches([batch])
            found = table.filter(_is_subject(table[subject.by], subject.value))
            tables.append(found.select(columns))
        return pa.concat_tables(tables).select(["id", "row", CLIENT_ID, "index"])


def _is_subject(column: Any, value: str) -> Any:
    kind = column.type
    wanted: bool | float | str | bytes | None = None
    try:
        if pa.types.is_boolean(kind):
            wanted = {"true": True, "false": False}[value.lower()]
        elif pa.types.is_integer(kind):
            wanted = int(value)
        elif pa.types.is_floating(kind):
            wanted = float(value)
        elif pa.types.is_string(kind):
            wanted = value
        elif pa.types.is_binary(kind):
            wanted = value.encode()
        scalar = None if wanted is None else pa.scalar(wanted, kind)
    except (KeyError, ValueError, OverflowError, pa.ArrowException):
        scalar = None  # no value of this column is written so
    if scalar is None:
        return pa.array([False] * len(column))
    return pc.fill_null(pc.equal(column, scalar), False)


@contextlib.contextmanager
def _opened(store: Store, part: Part) -> Iterator[Any]:
    with pq.ParquetFile(store.full(part.path), filesystem=store.filesystem) as file:
        yield file


def _forgotten_rows(table: Any, keys: set[Key]) -> Any:
    """Return a mask of the rows that are to be taken out."""
    ids = pa.array(sorted({key for key, _ in keys}), pa.binary(16))
    candidates = pc.is_in(table["id"].cast(pa.binary(16)), value_set=ids)
    if not pc.any(candidates).as_py():
        return pa.array([False] * table.num_rows)
    mask = candidates.to_numpy(zero_copy_only=False)
    some = table.select(["id", "row"]).filter(candidates)
    pairs = zip(some["id"].to_pylist(), some["row"].to_pylist(), strict=True)
    mask[mask] = [pair in keys for pair in pairs]
    return pa.array(mask)


def _rewrite(store: Store, part: Part, keys: set[Key], done: Forgotten) -> None:
    if not keys or not _holds(store, part, keys):
        return
    with _opened(store, part) as file:
        table = file.read()
    mask = _forgotten_rows(table, keys)
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
    gone = forget_labels(store, parts, done.labelled, ident_of(subject))
    if gone:
        done.rows["labels"] = sum(each.rows for each in gone)
    for each in gone:
        (done.rewritten if each.left else done.deleted).append(each.path)


def ident_of(subject: Subject) -> str | None:
    """Return the client's id that is meant itself; None: another column is."""
    return subject.value if subject.by == CLIENT_ID else None


def _holds(store: Store, part: Part, keys: set[Key]) -> bool:
    with _opened(store, part) as file:
        for batch in file.iter_batches(ROW_GROUP, columns=["id", "row"]):
            if pc.any(_forgotten_rows(pa.Table.from_batches([batch]), keys)).as_py():
                return True
    return False


def _delete_unfinished(store: Store, done: Forgotten) -> None:
    """Delete what writers that were killed have left half-written."""
    for path, _ in store.files(""):
        if path.endswith(TEMPORARY):
            store.delete(path)
            done.deleted.append(path)


def rows_left(
    store: Store, subject: Subject, parts: list[Part], keys: set[Key], progress: Progress
) -> list[str]:
    """Return the paths of parts that hold rows of the subject, or with these keys."""
    left = []
    for at, part in enumerate(parts):
        progress("searching again", at, len(parts))
        found = _matches(store, part, subject)
        if (found is not None and found.num_rows) or (keys and _holds(store, part, keys)):
            left.append(part.path)
    return left


def bytes_left(store: Store, subject: Subject, paths: list[str], progress: Progress) -> list[str]:
    """Return those of `paths` in whose files the subject stands as it is.

    One of fewer than `SHORTEST_TEXT` bytes is not looked for. Where it is a part of longer ones,
    which are other subjects, these are left out.
    """
    wanted = subject.value.encode()
    if len(wanted) < SHORTEST_TEXT:
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
    with _opened(store, part) as file:
        return only_in_longer_texts(file, subject.by, subject.value)


def _holds_bytes(store: Store, path: str, wanted: bytes) -> bool:
    try:
        with store.filesystem.open_input_stream(store.full(path)) as file:
            return holds(file, wanted)
    except FileNotFoundError:
        return False
