"""Which monitor a model belongs to, where an instance has several.

Gateways, monitors and the control plane ask the same function, so that a model's predictions,
labels and questions meet in one process. What counts is how many monitors the configuration asks
for, not which of them live: the models of a dead one wait for its restart, and it goes on from its
own state.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Protocol, TypeVar

MOST_MONITORS: Final = 64
_SINGLE: Final = "monitor"
_REMEMBERED: Final = 4096


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


@lru_cache(MOST_MONITORS)
def monitor_ids(monitors: int) -> tuple[str, ...]:
    """Return the ids of so many monitors; state on the disk bears them."""
    if monitors == 1:
        return (_SINGLE,)
    return tuple(f"{_SINGLE}-{number}" for number in range(monitors))


def monitor_of(model: str, monitors: int) -> str:
    """Return the id of the monitor, out of so many, that a model or any other text belongs to.

    It has the highest hash with the model's name (rendezvous hashing; Thaler, Ravishankar, 1998):
    with one monitor more, a model stays where it is or belongs to the new one.
    """
    return max(monitor_ids(monitors), key=lambda ident: _hash(ident, model))


monitor_of_model: Final = lru_cache(_REMEMBERED)(monitor_of)
"""The same for names of models that are served, which come again. Clients' texts, which may be long
and never come again, would drive them out."""


def _hash(ident: str, model: str) -> bytes:
    # Names come from clients too; half of a surrogate pair is no reason to fail.
    return blake2b(f"{ident}/{model}".encode(errors="surrogatepass"), digest_size=8).digest()


def share_of(ident: str, models: Iterable[N], monitors: int) -> tuple[N, ...]:
    """Return those of `models` that belong to a monitor."""
    return tuple(each for each in models if monitor_of_model(each.name, monitors) == ident)


def called(ident: str) -> str:
    """Return how sentences name a monitor: a single one needs no id."""
    return "the monitor" if ident == _SINGLE else ident
