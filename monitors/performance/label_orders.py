"""Which rows to label next, so that labels tell much and still say how good a model is.

Labels of rows that look hard make a model look worse than it is. So a share of each order is drawn
at random from all rows, and the labels of the others are kept out of what is measured. Every row
has a known probability of being ordered, by whose inverse whoever trains or measures with all
labels of an order can weight them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from monitors.performance.forgotten_keys import Key
from monitors.performance.metrics.score_histogram import probabilities

RANDOM_SHARE: Final = 0.5
"""Of the rows of an order: drawn at random."""
_MOST: Final = 100_000
_CLEAREST: Final = 0.02
"""Probability that an answer is wrong which every row has at least: no score is certain."""


class Wanted(NamedTuple):
    """A row of an order.

    Attributes:
        key: the id of its request, and the row in it.
        propensity: probability that it was ordered, in (0, 1].
        at_random: whether it was drawn at random from all rows; its label counts in what is
            measured.
    """

    key: Key
    propensity: float
    at_random: bool


class LabelOrders:
    """Draws rows to label, and remembers which labels must not be counted."""

    def __init__(self) -> None:
        self._ordered: dict[Key, Wanted] = {}

    def held_out(self, key: Key) -> bool:
        """Whether the label of a row is not counted, because the row was ordered for its looks."""
        found = self._ordered.get(key)
        return found is not None and not found.at_random

    def drawn_at_random(self, key: Key) -> bool:
        """Whether a row was ordered by a draw at random."""
        found = self._ordered.get(key)
        return found is not None and found.at_random

    def draw(
        self, keys: Sequence[Key], scores: Sequence[list[float] | None], rows: int, seed: int
    ) -> list[Wanted]:
        """Draw an order; returns its rows, those drawn at random first.

        Two independent draws: of half the rows at random without replacement, and of the others in
        proportion to how much the answer may be wrong, sqrt(p (1 - p)) with p the highest score.
        A row that both draw counts as random, so that the random ones are a sample of all. Without
        scores all are drawn at random.

        Source: Hájek (1964), "Asymptotic theory of rejective sampling"; systematic sampling with
        unequal probabilities as of Madow (1949); the allocation is Neyman's (1934).

        Args:
            keys: rows without a counted label and not in a random draw before, [n].
            scores: of the classes, or None, [n].
            rows: how many are wanted at most; as both draws may have rows in common, there may be
                fewer.
            seed: of the draws.
        """
        rng = np.random.default_rng(seed)
        n = len(keys)
        wanted = min(rows, n)
        if not wanted:
            return []
        information = _information(scores)
        for at, key in enumerate(keys):
            if key in self._ordered:  # it may still be drawn at random
                information[at] = 0.0
        plain = math.ceil(wanted * RANDOM_SHARE) if information.any() else wanted
        at_random = rng.choice(n, plain, replace=False)
        telling = inclusion(information, wanted - plain)
        chosen = _systematic(telling, rng)
        share = plain / n
        either = share + telling - share * telling
        found = [Wanted(keys[at], float(either[at]), True) for at in np.sort(at_random).tolist()]
        only = np.setdiff1d(chosen, at_random)
        found += [Wanted(keys[at], float(either[at]), False) for at in only.tolist()]
        self._ordered.update({each.key: each for each in found})
        for old in list(self._ordered)[: max(len(self._ordered) - _MOST, 0)]:
            del self._ordered[old]
        return found

    def forget_requests(self, idents: Collection[str]) -> None:
        """Forget the rows of requests with these ids."""
        for key in [key for key in self._ordered if key[0] in idents]:
            del self._ordered[key]

    def state(self) -> list[list[Any]]:
        """Return everything as JSON values."""
        return [[*each.key, each.propensity, each.at_random] for each in self._ordered.values()]

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Go on from what `state` returned."""
        restored = [Wanted((ident, index), share, how) for ident, index, share, how in state]
        self._ordered = {each.key: each for each in restored}


def inclusion(information: np.ndarray, rows: int) -> np.ndarray:
    """Return probabilities in proportion to information, at most 1, that sum to `rows`, [n].

    They sum to less where fewer rows have any.

    Args:
        information: not negative, [n].
        rows: how many are to be drawn.
    """
    found = np.zeros(len(information))
    certain = np.zeros(len(information), np.bool_)
    left = min(rows, int((information > 0).sum()))
    while left > 0:
        rest = np.where(certain, 0.0, information)
        found = np.where(certain, 1.0, rest * ((left - certain.sum()) / max(rest.sum(), 1e-300)))
        over = (found > 1) & ~certain
        if not over.any():
            break
        certain |= over
    return np.minimum(found, 1.0)


def _information(scores: Sequence[list[float] | None]) -> np.ndarray:
    given = [each for each in scores if each is not None]
    classes = max((len(each) for each in given), default=0)
    if classes < 2:
        return np.zeros(len(scores))
    nothing = [math.nan] * classes
    array = np.array([each if each and len(each) == classes else nothing for each in scores])
    known = np.isfinite(array).all(axis=1)
    shown, _ = probabilities(np.where(known[:, None], array, 0.0))
    wrong = np.clip(1 - shown.max(axis=1), _CLEAREST, 1 - _CLEAREST)
    found: np.ndarray = np.where(known, np.sqrt(wrong * (1 - wrong)), 0.5)
    return found


def _systematic(probabilities_of: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the places of a sample with these inclusion probabilities, ascending."""
    order = rng.permutation(len(probabilities_of))
    ends = np.cumsum(probabilities_of[order])
    if not len(ends) or ends[-1] <= 0:
        return np.empty(0, np.int64)
    marks = np.arange(rng.random(), ends[-1], 1.0)
    places = np.minimum(np.searchsorted(ends, marks, side="right"), len(order) - 1)
    found: np.ndarray = np.unique(order[places])
    return found
