"""Searches the files of monitors for requests that were forgotten."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from monitors.performance.prediction_entries import is_of
from serving.channel import frames
from serving.channel.frames import FrameError
from serving.errors import VigilError
from serving.log.byte_search import go_on, holds
from serving.monitoring.fan_out import read
from serving.monitoring.forgetting import Requests
from serving.monitoring.journal import Entry, journal_changes
from serving.monitoring.state_file import UnreadableState
from serving.monitoring.unserved import model_of
from serving.monitoring.wal_segments import Torn, records

_OWN: Final = re.compile(
    r"(.+?)(?:\.json|\.new|\.[0-9]+\.journal|\.([0-9]+)\.wal|\.text\.new|\.[0-9a-f]{64}\.text)"
)
"""What a monitor calls its files; one that was set aside has another name."""
_INCIDENTS: Final = re.compile(r"vigil\.db(?:\.[0-9TZ]+\.unreadable)?(?:-wal|-shm|-journal)?")
"""The database of incidents. It has no requests; its bytes are full of short numbers."""
_AGAIN: Final = "do it again"
_STOPPED: Final = (
    "start the instance once, stop it in order, so that it saves its state anew, and do this "
    "again; a file that was set aside has to be deleted by hand"
)
_RUNS: Final = (
    "a file that was set aside, or is of a monitor that is no more, has to be deleted by hand"
)


def require_absent(
    data_dir: Path, gone: Requests, *, but: Path, monitors: Collection[str] = ()
) -> int:
    """Search the files of an instance; returns how many were searched.

    The database of incidents is left out, where it has its usual name.

    Args:
        data_dir: of the instance.
        gone: what is looked for.
        but: a folder whose files are left out.
        monitors: names of those that run; they search their files themselves.

    Raises:
        VigilError: one holds it; the message says which.
        OSError: one cannot be read.
    """
    advice = _RUNS if monitors else _STOPPED
    searched = 0
    for path in _files(data_dir, but):
        if path.parent == data_dir and _INCIDENTS.fullmatch(path.name):
            continue
        own = _OWN.fullmatch(path.name)
        if own is None or own[1] not in monitors:
            searched += _search(path, gone, {}, advice, go_on)
    return searched


def require_forgotten(
    folder: Path,
    name: str,
    first: int,
    gone: Requests,
    newest: Mapping[str, int],
    going_on: Callable[[], None] = go_on,
) -> int:
    """Search the files of a monitor that runs; returns how many were searched.

    Nothing may write to them meanwhile but the write-ahead log, to segments from `first` on. These
    hold what has come since.

    Args:
        folder, name: see `Persistence`.
        first: number of that segment.
        gone: what is not to be there any more.
        newest: by owner, the number of its newest entry when it was forgotten.
        going_on: is called again and again, and may raise to end it.

    Raises:
        VigilError: a file holds it; the message says which.
        OSError: one cannot be read.
    """
    searched = 0
    for path in sorted(folder.iterdir()):
        own = _OWN.fullmatch(path.name)
        if own is not None and own[1] == name and (own[2] is None or int(own[2]) < first):
            searched += _search(path, gone, newest, _AGAIN, going_on)
    return searched


def _files(data_dir: Path, but: Path) -> Iterator[Path]:
    """Yield files while some come and go."""
    for folder, folders, names in os.walk(data_dir):
        folders[:] = sorted(name for name in folders if Path(folder, name) != but)
        yield from (path for name in sorted(names) if (path := Path(folder, name)).is_file())


def _search(
    path: Path,
    gone: Requests,
    newest: Mapping[str, int],
    advice: str,
    going_on: Callable[[], None],
) -> bool:
    """Search a file; False: there is nothing to look for in it."""
    own = _OWN.fullmatch(path.name)
    try:
        if own is not None and path.suffix == ".journal":
            held = any(_meant(*entry, gone, newest) for entry in _entries(path, going_on))
        elif gone.text:
            held = _holds(path, gone, going_on)
        else:
            return False
    except FileNotFoundError:
        return False  # replaced or deleted by who runs
    except UnreadableState as error:
        raise VigilError(f"{path} cannot be searched: {error}; {advice}") from None
    if held:
        raise VigilError(f"{path} still holds it: {advice}")
    return True


def _meant(owner: str, entry: Entry, gone: Requests, newest: Mapping[str, int]) -> bool:
    came_since = owner in newest and entry[0] > newest[owner]
    return not came_since and is_of(entry, gone.of(model_of(owner)))


def _entries(path: Path, going_on: Callable[[], None]) -> Iterator[tuple[str, Entry]]:
    for changes in journal_changes(path):
        going_on()
        for owner, entries in changes:
            yield from ((owner, entry) for entry in entries or ())


def _holds(path: Path, gone: Requests, going_on: Callable[[], None]) -> bool:
    with path.open("rb") as file:
        if not holds(file, gone.text, going_on):
            return False
    return gone.model is None or path.suffix != ".wal" or not _of_other_models(path, gone)


def _of_other_models(path: Path, gone: Requests) -> bool:
    """Whether a text stands in a segment in messages about other models alone."""
    return not any(
        isinstance(record, Torn)
        or (gone.text in bytes(record.frame) and _model_told_of(record.frame) in (None, gone.model))
        for record in records(path)
    )


def _model_told_of(frame: bytes | memoryview) -> str | None:
    """Return the model that a message is about; None: of none, or of several."""
    try:
        return getattr(read(frames.decode(memoryview(frame))), "model", None)
    except (FrameError, msgspec.DecodeError, VigilError):
        return None
