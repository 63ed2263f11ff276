"""Takes what a monitor remembers of clients' requests out of the files of one that does not run.

One that runs writes its own files anew (`Persistence.save_anew`). `forget_proof` looks into both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from monitors.performance.prediction_entries import without
from serving.log.subject import Subject
from serving.monitoring.checkpoint import Checkpoint
from serving.monitoring.journal import Entry
from serving.monitoring.unserved import model_of

_ALL: Final = 1 << 62


class _Every(frozenset[str]):
    """All clients' ids there are; the empty one stands for a prediction that is gone."""

    def __contains__(self, ident: object) -> bool:
        return ident != ""

    def __bool__(self) -> bool:
        return True


EVERY: Final = _Every()


class Requests(NamedTuple):
    """What is not to be in a monitor's files any more.

    Attributes:
        of: returns the clients' ids of a model's requests; none where the model is not meant.
        model: of this one alone; None: of all.
        text: that is in no other file either; empty: it is too short to be looked for.
    """

    of: Callable[[str], Collection[str]]
    model: str | None
    text: bytes


def requests_of(
    subject: Subject,
    client_ids: Mapping[str, Collection[str]],
    mine: Callable[[str], bool] = lambda _model: True,
    *,
    of_others: Collection[str] = (),
) -> Requests:
    """Return the requests of a subject.

    Args:
        subject: whose they are.
        client_ids: of the requests, by model, as the log has them.
        mine: whether it is known of a model which requests these are.
        of_others: the clients' ids of the requests of models of which it is not.
    """
    own = frozenset[str]() if subject.ident is None else frozenset([subject.ident])
    found = {model: own.union(idents) for model, idents in client_ids.items()}

    def of(model: str) -> Collection[str]:
        if subject.model not in (None, model):
            return ()
        return found.get(model, own) if mine(model) else of_others

    return Requests(of, subject.model, subject.text)


def forget_requests(data_dir: Path, gone: Requests, but: Collection[str] = ()) -> int:
    """Take out predictions and labels of requests; returns how many entries that were.

    Args:
        data_dir: of an instance.
        gone: the requests.
        but: names of the monitors that run. Nobody else may write the files of the others.

    Raises:
        OSError: a file cannot be written; what was there is there still.
    """
    return sum(
        _forget(data_dir, path.stem, gone)
        for path in sorted(data_dir.glob("*.json"))
        if path.stem not in but and any(data_dir.glob(f"{path.stem}.*.journal"))
    )


def _forget(data_dir: Path, name: str, gone: Requests) -> int:
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
        count = 0
        for owner, found in entries.items():
            left, taken = without(found, gone.of(model_of(owner)))
            count += taken
            kept += [(owner, entry) for entry in left]
        checkpoint.prepare(state, ())()
        return count
    finally:
        checkpoint.close()
