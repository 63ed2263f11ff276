"""The weighted regression behind KernelSHAP: which coalitions are tried, and what follows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np


@dataclass(frozen=True, slots=True)
class Coalitions:
    """Coalitions of m players, neither empty nor complete.

    Attributes:
        members: who takes part, bool [k, m].
        weights: of each coalition in the regression, float64 [k].
    """

    members: np.ndarray
    weights: np.ndarray

    def shapley(self, gains: np.ndarray, difference: float) -> np.ndarray:
        """Return the Shapley values float64 [m]; they add up to `difference`.

        Least squares under that constraint; Covert and Lee (2021), "Improving KernelSHAP",
        equation 7.

        Args:
            gains: value of each coalition minus the value of the empty one, float64 [k].
            difference: the same for the complete coalition.
        """
        players = self.members.shape[1]
        if players < 2:
            return np.full(players, difference)
        weighted = self.members.T * self.weights
        both = np.column_stack((weighted @ gains, np.ones(players)))
        free, ones = np.linalg.solve(weighted @ self.members, both).T
        found: np.ndarray = free - ones * (free.sum() - difference) / ones.sum()
        return found


def least_samples(players: int) -> int:
    """Return how many coalitions `choose` needs at least for so many players."""
    return min(max(_all(players), 0), 4 * players)


def choose(players: int, n_samples: int, seed: int) -> Coalitions:
    """Return at most `n_samples` coalitions; all of them, and so exact values, if that suffices.

    Weights are those of Lundberg and Lee (2017), "A Unified Approach to Interpreting Model
    Predictions", theorem 2. Sizes whose coalitions can all be tried are, beginning with the
    smallest and largest, which weigh most; of the others pairs of a coalition and its complement
    are drawn, which cancels much of the noise. Depends on the arguments only.

    Args:
        players: m.
        n_samples: at least `least_samples(players)`.
        seed: of the draws.
    """
    if players < 2:
        return Coalitions(np.zeros((0, players), dtype=bool), np.zeros(0))
    sizes = np.arange(1, players)
    mass = 1 / (sizes * (players - sizes))
    mass /= mass.sum()
    members: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    left, size = n_samples, 1
    exact = n_samples >= _all(players)
    while 2 * size <= players and (exact or _affordable(players, size, left, mass)):
        for chosen in sorted({size, players - size}):
            whole = _all_of_size(players, chosen)
            members.append(whole)
            weights.append(np.full(len(whole), mass[chosen - 1] / len(whole)))
            left -= len(whole)
        size += 1
    rest = sizes[size - 1 : players - size]
    if len(rest):
        drawn, times = _draw(players, rest, mass[rest - 1], max(1, left // 2), seed)
        members.append(drawn)
        weights.append(times * mass[rest - 1].sum() / times.sum())
    return Coalitions(np.concatenate(members), np.concatenate(weights))


def _all(players: int) -> int:
    """How many coalitions there are, neither empty nor complete."""
    return (1 << players) - 2


def _affordable(players: int, size: int, left: int, mass: np.ndarray) -> bool:
    """Whether as many draws as are left would hit every coalition of this size once."""
    count = math.comb(players, size) * (1 if 2 * size == players else 2)
    remaining = mass[size - 1 : players - size]
    share = remaining[0] * (1 if 2 * size == players else 2) / remaining.sum()
    # The single players make the regression solvable, so they are always there.
    return size == 1 or (count <= left and left * share >= count)


def _all_of_size(players: int, size: int) -> np.ndarray:
    chosen = np.array(list(combinations(range(players), size)))
    members = np.zeros((len(chosen), players), dtype=bool)
    np.put_along_axis(members, chosen, values=True, axis=1)
    return members


def _draw(
    players: int, sizes: np.ndarray, mass: np.ndarray, pairs: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Coalitions of these sizes and how often each was drawn."""
    random = np.random.default_rng(seed)
    size = random.choice(sizes, pairs, p=mass / mass.sum())
    ranks = random.random((pairs, players)).argsort(axis=1).argsort(axis=1)
    drawn = ranks < size[:, None]
    members, times = np.unique(np.concatenate((drawn, ~drawn)), axis=0, return_counts=True)
    return members, times
