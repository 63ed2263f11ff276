"""What the monitor must not forget when it is killed, saved at a cost that follows the traffic.

Counts and findings are few and are written as a whole. Predictions that wait for labels are many,
so only those that changed are appended to a journal; once it is much longer than what it holds, a
new one is written beside it, a slice at each save. Long texts of the state seldom change, and are
in files of their own.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from serving.monitoring.journal import Changes, Entry, Journal, read_journal, to_line
from serving.monitoring.long_texts import LongTexts
from serving.monitoring.set_aside import set_aside
from serving.monitoring.state_file import UnreadableState, read_state, write_state
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

SLICE: Final = 10_000
"""Values copied to a new journal at each save, or as many as one entry has."""
SMALL: Final = 8 << 20
"""Bytes up to which a journal is never too long."""
_MOST_COLUMNS: Final = 16
"""Lists of an entry stand among so many of its first values."""


Everything = Callable[[], Iterator[tuple[str, Entry]]]


class _Saved(msgspec.Struct):
    journal: str
    size: int
    state: msgspec.Raw


class _Encoded(NamedTuple):
    content: msgspec.Raw
    texts: Mapping[str, str]


class Checkpoint:
    """A file of state `<name>.json`, and a journal `<name>.<number>.journal` that it names.

    Long texts of the state are beside it, too; see `LongTexts`.

    Args:
        folder: made when it is missing, readable by the owner only.
        name: of the role.
        everything: yields all entries with their owners, while they change.
        slice_values: see `SLICE`.
        small_bytes: see `SMALL`.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        everything: Everything,
        *,
        slice_values: int = SLICE,
        small_bytes: int = SMALL,
    ) -> None:
        self._folder, self._name = folder, name
        self._everything = everything
        self._texts = LongTexts(folder, name)
        self._slice, self._small = slice_values, small_bytes
        self._number = 0
        self._journal: Journal | None = None
        self._shorter: Journal | None = None
        self._to_copy: Iterator[tuple[str, Entry]] | None = None
        self._allowed = small_bytes

    @property
    def path(self) -> Path:
        """The file of state."""
        return self._folder / f"{self._name}.json"

    # -- reading ------------------------------------------------------------------------

    def load(self) -> tuple[dict[str, Any], Mapping[str, Sequence[Entry]]] | None:
        """Return state and entries as they were saved last; None when there is nothing to use.

        What cannot be read is set aside.

        Raises:
            OSError: it cannot be set aside.
        """
        try:
            content = read_state(self.path)
            saved = None if content is None else msgspec.json.decode(content, type=_Saved)
        except (UnreadableState, msgspec.DecodeError) as error:
            self.set_aside(str(error))
            return None
        if saved is None:
            self._set_others_aside()
            return None
        state: dict[str, Any] = self._texts.lengthen(msgspec.json.decode(saved.state))
        path = self._folder / saved.journal
        self._number = int(path.suffixes[-2].removeprefix("."))
        self._delete_journals(but=path)
        try:
            entries = read_journal(path, saved.size)
        except UnreadableState as error:
            said = f"predictions that wait for labels are lost: {path}: {error}"
            report(Event.LABELS_LOST, said)
            self._set_aside(self._journals())
            return state, {}
        self._journal = Journal(path, saved.size)
        return state, entries

    def set_aside(self, why: str) -> None:
        """Keep what was saved under other names and begin anew.

        Raises:
            OSError: it cannot be renamed.
        """
        self._give_up()
        set_aside(self.path, why)
        self._set_others_aside()

    def _set_others_aside(self) -> None:
        self._set_aside([*self._journals(), *self._texts.paths()])
        self._texts = LongTexts(self._folder, self._name)

    def _set_aside(self, paths: Sequence[Path]) -> None:
        for path in paths:
            set_aside(path, "it belongs to state that cannot be used")

    def _journals(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self._name}.*.journal"))

    def _delete_journals(self, but: Path) -> None:
        for path in self._journals():
            if path != but:
                path.unlink(missing_ok=True)

    # -- writing ------------------------------------------------------------------------

    def begin_anew(self) -> None:
        """Have the next saves write a journal of what is known then, and of nothing else.

        Call it between a call of what `prepare` has returned and the next `prepare`. Until
        `complete` the journal that is there stays.
        """
        if self._shorter is not None:
            with contextlib.suppress(OSError):
                self._shorter.close()
            self._shorter = None
        self._number += 1
        self._to_copy = self._everything()

    @property
    def complete(self) -> bool:
        """Whether no shorter journal is being written."""
        return self._to_copy is None

    def prepare(self, state: dict[str, Any], changes: Changes) -> Callable[[], None]:
        """Encode what is to be saved; returns what writes it, for another thread.

        The call must have ended before the next `prepare`. It raises OSError when something
        cannot be written; then the next one saves everything.

        Args:
            state: JSON-serialisable, written as a whole but for long texts that were before.
            changes: entries that changed since the last call.
        """
        lines = [to_line(changes)] if changes else []
        if self._to_copy is None and (not self._journal or self._journal.size > self._allowed):
            self.begin_anew()
        copied: list[bytes] = []
        complete = False
        if self._to_copy is not None:
            part, complete = _next_part(self._to_copy, self._slice)
            copied = [to_line(_by_owner(part))] if part else []
        short, texts = self._texts.shorten(state)
        encoded = _Encoded(msgspec.Raw(msgspec.json.encode(short)), texts)

        def write() -> None:
            try:
                self._write(encoded, lines, copied, complete=complete)
            except OSError:
                self._give_up()
                raise

        return write

    @property
    def in_force(self) -> bool:
        """Whether the file of state tells what was prepared last."""
        return self._journal is not None

    def _write(
        self, state: _Encoded, lines: list[bytes], copied: list[bytes], *, complete: bool
    ) -> None:
        if self._journal:
            self._journal.write(lines)
        if self._to_copy is not None:
            if self._shorter is None:
                path = self._folder / f"{self._name}.{self._number}.journal"
                self._shorter = Journal(path)
            # Changes first: what is copied is as new as they are, or newer.
            self._shorter.write([*lines, *copied])
        before = self._journal
        if complete:
            self._journal, self._shorter, self._to_copy = self._shorter, None, None
        if self._journal:
            self._texts.write(state.texts)
            saved = _Saved(self._journal.path.name, self._journal.size, state.content)
            write_state(self.path, msgspec.json.encode(saved))
            self._texts.keep(state.texts)
            if complete:
                self._allowed = max(self._small, 3 * self._journal.size)
                self._delete_journals(but=self._journal.path)
        if complete and before:
            before.close()

    def close(self) -> None:
        """Let go of the files."""
        self._give_up()

    def _give_up(self) -> None:
        for journal in (self._journal, self._shorter):
            if journal:
                with contextlib.suppress(OSError):
                    journal.close()
        self._journal = self._shorter = self._to_copy = None


def _next_part(
    entries: Iterator[tuple[str, Entry]], most: int
) -> tuple[list[tuple[str, Entry]], bool]:
    """Return the next entries, and whether these were the last."""
    part, values = [], 0
    for pair in entries:
        part.append(pair)
        values += _values(pair[1])
        if values >= most:
            return part, False
    return part, True


def _values(entry: Entry) -> int:
    """Return about how many values an entry holds; its columns stand among its first values."""
    first = entry[:_MOST_COLUMNS]
    return len(entry) + sum([len(value) for value in first if isinstance(value, list)])


def _by_owner(entries: list[tuple[str, Entry]]) -> Changes:
    grouped = itertools.groupby(entries, key=lambda pair: pair[0])
    return [(owner, [entry for _, entry in group]) for owner, group in grouped]
