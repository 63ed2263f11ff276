"""What was saved of versions that nobody serves now, kept within bounds.

A version that is replaced while the server is down may come back, and then goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from monitors.performance.prediction_entries import Entry, without

MOST_UNSERVED: Final = 4
"""Versions kept of a model that is served; those that answered last stay."""
KEPT_S: Final = 30 * 86400.0
"""How long anything is kept that is not served; predictions take no label for longer either."""


class Unserved:
    """States and entries by owner, `name/version`; those of a model's forgotten keys by `name`.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # In the order of their last answers.
        self._states: dict[str, Any] = {}
        self._upstream: dict[str, str] = {}
        self._entries: dict[str, Sequence[Entry]] = {}
        self._since: dict[str, float] = {}

    def restore(self, state: Mapping[str, Any], entries: Mapping[str, Sequence[Entry]]) -> None:
        """Take in what was saved, before any model is served."""
        self._states = dict(state["models"])
        self._upstream = dict(state["upstream"])
        self._entries = {owner: saved for owner, saved in entries.items() if saved}
        self._since = dict(state.get("unserved", {}))

    def state(self) -> dict[str, dict[str, Any]]:
        """Return all but the entries, as `restore` takes it."""
        return {"models": self._states, "upstream": self._upstream, "unserved": self._since}

    def versions(self, model: str) -> list[str]:
        """Return the versions of a model with a state, in the order of their last answers."""
        return [version for name, version in map(_split, self._states) if name == model and version]

    def served_as(self, owner: str) -> str | None:
        """Return the version in whose place a version of another server had answered."""
        return self._upstream.get(owner)

    def predictions(self, model: str) -> list[tuple[str, Sequence[Entry]]]:
        """Return the entries of a model's versions with their owners."""
        return [one for one in self._entries.items() if one[0].startswith(f"{model}/")]

    def take(self, owner: str) -> tuple[Any, Sequence[Entry]]:
        """Return state, None if there is none, and entries of what is served from now on."""
        self._upstream.pop(owner, None)
        self._since.pop(owner, None)
        return self._states.pop(owner, None), self._entries.pop(owner, ())

    def drop(self, served: Collection[str]) -> list[str]:
        """Drop what is too old or too much; returns its owners.

        Args:
            served: names of the models that are served; of others no version is too many.
        """
        now = self._clock()
        owners = list(dict.fromkeys((*self._states, *self._entries)))
        self._since = {owner: self._since.get(owner, now) for owner in owners}
        left: dict[str, int] = {}
        dropped = []
        for owner in reversed(owners):
            model, version = _split(owner)
            if version and model in served:
                left[model] = left.get(model, MOST_UNSERVED) - 1
            if left.get(model, 0) < 0 or now - self._since[owner] > KEPT_S:
                dropped.append(owner)
                self.take(owner)
        return dropped

    def forget_requests(self, of: Callable[[str], Collection[str]]) -> int:
        """Drop the entries of requests; returns how many there were.

        Args:
            of: returns the clients' ids of a model's requests.
        """
        gone = 0
        for owner, saved in self._entries.items():
            self._entries[owner], count = without(saved, of(model_of(owner)))
            gone += count
        return gone

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Yield all entries with their owners; some may be taken or dropped meanwhile."""
        for owner, saved in list(self._entries.items()):
            for entry in saved:
                if owner not in self._entries:
                    break
                yield owner, entry


def model_of(owner: str) -> str:
    """Return the model of an owner."""
    return _split(owner)[0]


def _split(owner: str) -> tuple[str, str]:
    name, _, version = owner.partition("/")
    return name, version
