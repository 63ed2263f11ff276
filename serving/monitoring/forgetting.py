"""Takes what a monitor remembers of clients' requests out of its state, and proves it.

While an instance does not run, its files are written anew by `forget_requests`. A monitor that runs
writes its own files anew (`Persistence.save_anew`); `require_forgotten` then looks into them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from monitors.performance.prediction_entries import is_of, without
from serving.errors import VigilError
from serving.monitoring.checkpoint import Checkpoint
from serving.monitoring.journal import Entry, journal_changes
from serving.monitoring.state_file import UnreadableState

_ALL: Final = 1 << 62
_BLOCK: Final = 4 << 20
_OWN: Final = re.compile(r"(.+?)(?:\.json|\.new|\.[0-9]+\.journal|\.([0-9]+)\.wal)")
"""What a monitor calls its files; one that was set aside has another name."""


class Request(NamedTuple):
    """What is not to be in a monitor's files any more.

    Attributes:
        model: of this one alone; None: of all.
        client_ids: of the requests.
        text: that is in no other file either; empty: it is too short to be looked for.
    """

    model: str | None
    client_ids: Collection[str]
    text: bytes


def forget_requests(data_dir: Path, client_ids: Collection[str], but: Collection[str] = ()) -> int:
    """Take out predictions and labels of requests; returns how many entries that were.

    Args:
        data_dir: of an instance.
        client_ids: the clients' ids of the requests.
        but: names of the monitors that run.

    Raises:
        OSError: a file cannot be written; what was there is there still.
    """
    wanted = frozenset(client_ids)
    return sum(
        _forget(data_dir, path.stem, wanted)
        for path in sorted(data_dir.glob("*.json"))
        if path.stem not in but and any(data_dir.glob(f"{path.stem}.*.journal"))
    )


def _forget(data_dir: Path, name: str, client_ids: frozenset[str]) -> int:
    kept: list[tuple[str, Entry]] = []

    def everything() -> Iterator[tuple[str, Entry]]:
        return iter(kept)

    # Too small a bound, so that the next save writes a journal of what is kept, and no more.
    checkpoint = Checkpoint(data_dir, name, everything, slice_values=_ALL, small_bytes=-1)
    try:
        saved = checkpoint.load()
        if saved is None:
            return 0
        state, entries = saved
        gone = 0
        for owner, found in entries.items():
            left, count = without(found, client_ids)
            gone += count
            kept += [(owner, entry) for entry in left]
        checkpoint.prepare(state, ())()
        return gone
    finally:
        checkpoint.close()


def require_absent(data_dir: Path, text: bytes, *, but: Path) -> int:
    """Search the files of `data_dir` for a text; returns how many were searched.

    Args:
        but: a folder whose files are left out.

    Raises:
        VigilError: one holds it; the message says which.
        OSError: one cannot be read.
    """
    files = [
        path
        for path in sorted(data_dir.rglob("*"))
        if path.is_file() and not path.is_relative_to(but)
    ]
    return _require_absent(
        files,
        text,
        "start the instance once, stop it in order, so that it saves its state anew, and do this "
        "again; a file that was set aside has to be deleted by hand",
    )


def require_absent_beside(
    data_dir: Path, text: bytes, *, but: Path, monitors: Collection[str]
) -> int:
    """Search the files of an instance that runs for a text; returns how many were searched.

    Args:
        data_dir: of the instance.
        text: what is looked for.
        but: a folder whose files are left out.
        monitors: names of those that run; they search their files themselves.

    Raises:
        VigilError: one holds it; the message says which.
        OSError: one cannot be read.
    """
    files = [
        path
        for path in _files_beside(data_dir, but)
        if not ((own := _OWN.fullmatch(path.name)) and own[1] in monitors)
    ]
    return _require_absent(
        files,
        text,
        "a file that was set aside, or is of a monitor that is no more, has to be deleted by hand",
    )


def require_forgotten(
    folder: Path, name: str, first: int, gone: Request, newest: Mapping[str, int]
) -> int:
    """Search the files of a monitor that runs; returns how many were searched.

    Nothing may write to them meanwhile but the write-ahead log, to segments from `first` on. These
    hold what has come since.

    Args:
        folder, name: see `Persistence`.
        first: number of that segment.
        gone: what is not to be there any more.
        newest: by owner, the number of its newest entry when it was forgotten.

    Raises:
        VigilError: a file holds it; the message says which.
        OSError: one cannot be read.
    """
    searched = 0
    for path in sorted(folder.iterdir()):
        own = _OWN.fullmatch(path.name)
        if own is None or own[1] != name:
            continue
        if own[2] is not None and int(own[2]) >= first:
            continue
        searched += 1
        if path.suffix == ".journal":
            _require_no_entry(path, gone, newest)
        else:
            _require_absent([path], gone.text, "do it again")
    return searched


def _require_no_entry(path: Path, gone: Request, newest: Mapping[str, int]) -> None:
    try:
        for owner, entry in _entries(path):
            of_model = gone.model in (None, owner.partition("/")[0])
            if of_model and is_of(entry, gone.client_ids) and entry[0] <= newest.get(owner, _ALL):
                raise VigilError(f"{path} still holds it: do it again")
    except UnreadableState as error:
        raise VigilError(f"{path} cannot be searched: {error}; do it again") from None


def _entries(path: Path) -> Iterator[tuple[str, Entry]]:
    for changes in journal_changes(path):
        for owner, entries in changes:
            yield from ((owner, entry) for entry in entries or ())


def _files_beside(data_dir: Path, but: Path) -> Iterator[Path]:
    """Yield files while some come and go."""
    for folder, folders, names in os.walk(data_dir):
        folders[:] = [name for name in folders if Path(folder, name) != but]
        yield from (path for name in names if (path := Path(folder, name)).is_file())


def _require_absent(files: Iterable[Path], text: bytes, advice: str) -> int:
    searched = 0
    for path in files:
        searched += 1
        if text and _holds(path, text):
            raise VigilError(f"{path} still holds it: {advice}")
    return searched


def _holds(path: Path, text: bytes) -> bool:
    try:
        with path.open("rb") as file:
            end = b""
            while block := file.read(_BLOCK):
                if text in end + block:
                    return True
                end = block[-len(text) :]
    except FileNotFoundError:
        pass  # replaced or deleted by who runs
    return False
