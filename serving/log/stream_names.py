"""Names of streams, and which of them were given after a cut.

They are UUIDv7 and so begin with a time, but no clock tells what came after what: it is set back,
and what a process before this one has named may bear a time that is still to come.
"""

from __future__ import annotations

import re
import threading
import weakref
from typing import Final

from serving.protocol.ids import new_request_id

_NAME: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=[.])")


class Cut:
    """Tells streams that were begun after it, and what is made of them, from all others.

    Attributes:
        made: whether it is: until then nothing is later.
    """

    def __init__(self) -> None:
        self.made = False
        self._later: set[str] = set()

    def add(self, name: str) -> None:
        """Take note of a stream that is begun after it."""
        self._later.add(name)

    def is_later(self, file: str) -> bool:
        """Whether a file, by its name, is or is made of a stream that was begun after it."""
        name = _NAME.search(file)
        return name is not None and name[0] in self._later


class StreamNames:
    """Names the streams of all writers of a process, and tells cuts of them; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cuts: weakref.WeakSet[Cut] = weakref.WeakSet()

    def next(self) -> str:
        """Return a new name. Whoever asks a cut for it after that is told that it is later."""
        name = new_request_id()
        with self._lock:
            for cut in self._cuts:
                cut.add(name)
        return name

    def make(self, cut: Cut) -> Cut:
        """Make a cut here; it is told of names for as long as somebody has it."""
        with self._lock:
            self._cuts.add(cut)
            cut.made = True
        return cut
