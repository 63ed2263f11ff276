"""Takes the rows of one subject out of a log while its writer goes on.

Only what was logged before a cut is looked at: rows that come later are in streams, and so in
files, that were begun later, and the cut knows their names. Files of before the cut change no more,
once their streams are finished and retention is kept away (`folder_lock`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from serving.errors import VigilError
from serving.log.forget import (
    Forgotten,
    find_rows,
    label_parts_of,
    parts_of,
    take_labels_out,
    take_out,
)
from serving.log.forget_labels import labels_left
from serving.log.forget_search import Progress, bytes_left, require_none_left, rows_left
from serving.log.layout import DATASETS, Part, model_folder
from serving.log.spool import all_streams
from serving.log.store import TEMPORARY, Store
from serving.log.stream_names import Cut
from serving.log.subject import Key, Subject

STORE_AWAY_S: Final = 35.0
"""How long a store may fail; its writer tries again after 30 s at most."""
STORE_SLOW_S: Final = 300.0
_PAUSE_S: Final = 0.1
_MODEL: Final = re.compile(r"(?:^|/)model=([^/]+)/")

Mine = Callable[[str | None], bool]
"""Whether this writer's instance deals with files of a model; None: with those of no model."""


class RunningForget:
    """One order, in its steps; each runs in a thread.

    Args:
        store, spool: of the log.
        subject: whose rows.
        mine: which models' files are dealt with here.
        cut: see `LogWriter.cut`.
        progress: is told how far it is, and may raise to end it between two files.

    Attributes:
        done: what was done so far.
    """

    def __init__(
        self,
        store: Store,
        spool: Path,
        subject: Subject,
        mine: Mine,
        cut: Cut,
        progress: Progress,
    ) -> None:
        self._store, self._spool, self._subject = store, spool, subject
        self._mine, self._cut, self._progress = mine, cut, progress
        self._keys: set[Key] = set()
        self._parts: list[Part] = []
        self.done = Forgotten()

    def await_files(self, trouble: Callable[[], str | None]) -> None:
        """Wait until all streams of before the cut are files.

        Args:
            trouble: says why the writer makes no files now; None: it does.

        Raises:
            VigilError: they are not; nothing was changed.
        """
        began = time.monotonic()
        while left := self._streams():
            self._progress("waiting for files", 0, left)
            waited, why = time.monotonic() - began, trouble()
            if waited > STORE_SLOW_S or (why and waited > STORE_AWAY_S):
                said = why or "its store is slow"
                raise VigilError(
                    f"the latest rows of the log cannot be made files, so nothing was deleted; do "
                    f"it again later: {said}"
                )
            time.sleep(_PAUSE_S)

    def find(self) -> bool:
        """Find the rows; returns whether the log has files of these models at all."""
        parts = self._of_before(parts_of(self._store, self._subject))
        self._keys, self._parts = find_rows(
            self._store, self._subject, parts, self.done, self._progress
        )
        return bool(parts)

    def take_out(self) -> None:
        """Write the files anew that hold them.

        Raises:
            OSError, pyarrow.ArrowException: one could not be; nothing else is lost.
        """
        labels = self._of_before(label_parts_of(self._store, self._subject))
        take_labels_out(self._store, self._subject, labels, self.done)
        take_out(self._store, self._parts, self._keys, self.done, self._progress)
        for path in self._paths():
            if path.endswith(TEMPORARY):  # of a writer that was killed: all others are newer
                self._store.delete(path)
                self.done.deleted.append(path)

    def prove(self) -> None:
        """Search all files of before the cut once more.

        Raises:
            VigilError: the subject is still somewhere; the message says where.
        """
        there = {path for path, _ in self._store.files("")}
        parts = [part for part in self._parts if part.path in there]
        left = rows_left(self._store, self._subject, parts, self._keys, self._progress)
        labels = self._of_before(label_parts_of(self._store, self._subject))
        ident = self._subject.ident
        left += labels_left(self._store, labels, self.done.labelled, ident)
        paths = self._paths()
        left += bytes_left(self._store, self._subject, paths, self._progress)
        self.done.searched = len(paths)
        require_none_left(self._subject, left)

    def _of_before(self, parts: Iterable[Part]) -> list[Part]:
        return [
            part for part in parts if self._concerns(part.path) and not self._is_newer(part.path)
        ]

    def _streams(self) -> int:
        try:
            return sum(
                self._concerns(f"/{stream.folder}/") and not self._is_newer(stream.path.name)
                for dataset in DATASETS
                for stream in all_streams(self._spool, dataset)
            )
        except FileNotFoundError:  # a writer has left meanwhile
            return 1

    def _paths(self) -> list[str]:
        """Return the paths of all files of before the cut that are dealt with here."""
        paths = (path for path, _ in self._store.files(""))
        return [path for path in paths if self._concerns(path) and not self._is_newer(path)]

    def _concerns(self, path: str) -> bool:
        only = self._subject.model
        if only is not None and f"/{model_folder(only)}/" not in f"/{path}":
            return False
        model = _MODEL.search(path)
        return self._mine(None if model is None else unquote(model[1]))

    def _is_newer(self, path: str) -> bool:
        return self._cut.is_later(path.rpartition("/")[2])
