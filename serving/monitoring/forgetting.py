"""Takes what a monitor remembers of clients' requests out of its state, while it does not run."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from monitors.performance.prediction_entries import without
from serving.errors import VigilError
from serving.monitoring.checkpoint import Checkpoint
from serving.monitoring.journal import Entry

_ALL: Final = 1 << 62
_BLOCK: Final = 4 << 20


def forget_requests(data_dir: Path, client_ids: Collection[str]) -> int:
    """Take out predictions and labels of requests; returns how many entries that were.

    Args:
        data_dir: of an instance that does not run.
        client_ids: the clients' ids of the requests.

    Raises:
        OSError: a file cannot be written; what was there is there still.
    """
    wanted = frozenset(client_ids)
    return sum(
        _forget(data_dir, path.stem, wanted)
        for path in sorted(data_dir.glob("*.json"))
        if any(data_dir.glob(f"{path.stem}.*.journal"))
    )


def _forget(data_dir: Path, name: str, client_ids: frozenset[str]) -> int:
    kept: list[tuple[str, Entry]] = []

    def everything() -> Iterator[tuple[str, Entry]]:
        return iter(kept)

    # Too small a bound, so that the next save writes a journal of what is kept, and no more.
    checkpoint = Checkpoint(data_dir, name, everything, slice_entries=_ALL, small_bytes=-1)
    try:
        saved = checkpoint.load()
        if saved is None:
            return 0
        state, entries = saved
        gone = 0
        for owner, found in entries.items():
            for entry in found:
                left, count = without(entry, client_ids)
                gone += count
                if left is not None:
                    kept.append((owner, left))
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
    searched = 0
    for path in sorted(data_dir.rglob("*")):
        if path.is_file() and not path.is_relative_to(but):
            searched += 1
            if _holds(path, text):
                raise VigilError(
                    f"{path} still holds it: start the instance once, stop it in order, so that "
                    "it saves its state anew, and do this again; a file that was set aside has to "
                    "be deleted by hand"
                )
    return searched


def _holds(path: Path, text: bytes) -> bool:
    with path.open("rb") as file:
        end = b""
        while block := file.read(_BLOCK):
            if text in end + block:
                return True
            end = block[-len(text) :]
    return False
