"""Values that repeat, written with how often they follow themselves."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any


def runs(values: Iterable[Any]) -> list[tuple[Any, int]]:
    """Return each value with how often it follows itself."""
    return [(value, len(list(group))) for value, group in itertools.groupby(values)]


def spread(found: Iterable[Sequence[Any]]) -> Iterator[Any]:
    """Yield what `runs` was given."""
    for value, count in found:
        yield from itertools.repeat(value, count)
