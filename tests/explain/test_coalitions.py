import itertools
import math

import numpy as np
import pytest

from explain.coalitions import choose, least_samples


def by_definition(value, players: int) -> np.ndarray:
    """Shapley values as the weighted mean of marginal contributions over all coalitions."""
    found = np.zeros(players)
    for player in range(players):
        others = [other for other in range(players) if other != player]
        for size in range(players):
            weight = 1 / (players * math.comb(players - 1, size))
            for members in itertools.combinations(others, size):
                without = np.isin(np.arange(players), members)
                with_player = without.copy()
                with_player[player] = True
                found[player] += weight * (value(with_player) - value(without))
    return found


def game(members: np.ndarray) -> float:
    """Additive parts, a pair that works together only, and a majority."""
    parts = np.array([3.0, -1.0, 0.5, 2.0, 0.0, 1.0])[: len(members)]
    together = 4.0 if members[0] and members[1] else 0.0
    return float(parts @ members + together + (members.sum() > len(members) / 2))


def solve(players: int, n_samples: int, seed: int = 0) -> np.ndarray:
    design = choose(players, n_samples, seed)
    nobody, everybody = np.zeros(players, bool), np.ones(players, bool)
    gains = np.array([game(members) - game(nobody) for members in design.members])
    return design.shapley(gains, game(everybody) - game(nobody))


@pytest.mark.parametrize("players", [1, 2, 3, 4, 5, 6])
def test_all_coalitions_give_the_values_of_the_definition(players):
    if players == 1:
        assert choose(1, 100, 0).shapley(np.zeros(0), 2.5).tolist() == [2.5]
        return
    np.testing.assert_allclose(solve(players, 2**players), by_definition(game, players), atol=1e-9)


@pytest.mark.parametrize("players", range(2, 13))
def test_enough_samples_mean_every_coalition_once(players):
    members = choose(players, 2**players - 2, 0).members
    assert len(np.unique(members, axis=0)) == len(members) == 2**players - 2


@pytest.mark.parametrize(("players", "n_samples"), [(8, 32), (12, 200), (40, 160), (200, 2048)])
def test_no_more_coalitions_than_asked_for_and_each_with_its_complement(players, n_samples):
    design = choose(players, n_samples, 0)
    assert 2 * players <= len(design.members) <= n_samples
    rows = {row.tobytes() for row in design.members}
    assert rows == {row.tobytes() for row in ~design.members}
    sizes = design.members.sum(axis=1)
    assert 1 <= sizes.min() <= sizes.max() <= players - 1
    assert design.weights.sum() == pytest.approx(1)


def test_a_size_weighs_what_theory_says_whether_it_was_enumerated_or_drawn():
    design = choose(12, 600, 3)
    sizes = design.members.sum(axis=1)
    mass = 1 / (np.arange(1, 12) * (12 - np.arange(1, 12)))
    for size in (1, 2, 10, 11):
        weight = design.weights[sizes == size].sum()
        assert weight == pytest.approx(mass[size - 1] / mass.sum())


def test_estimates_are_near_and_nearer_with_more_samples():
    random = np.random.default_rng(0)
    pairs = np.triu(random.normal(size=(14, 14)), 1)
    # Odd moments of coalitions cancel in pairs, so only a game of third order has an error.
    triple = random.normal(size=14)

    def value(members):
        return float(members @ pairs @ members + (triple @ members) ** 3 / 10)

    errors = []
    exact = None
    for n_samples in (2**14, 100, 3000):
        design = choose(14, n_samples, 0)
        gains = np.array([value(members) for members in design.members])
        found = design.shapley(gains, value(np.ones(14)))
        exact = found if exact is None else exact
        errors.append(np.abs(found - exact).max())
    assert errors[2] < errors[1] / 3
    assert errors[2] < 0.05 * np.abs(exact).max()


def test_the_same_seed_draws_the_same_and_another_does_not():
    first, again, other = choose(20, 300, 1), choose(20, 300, 1), choose(20, 300, 2)
    np.testing.assert_array_equal(first.members, again.members)
    np.testing.assert_array_equal(first.weights, again.weights)
    assert first.members.shape != other.members.shape or (first.members != other.members).any()


def test_what_is_needed_at_least():
    assert [least_samples(m) for m in (0, 1, 2, 3, 4, 5, 100)] == [0, 0, 2, 6, 14, 20, 400]


@pytest.mark.parametrize("players", [2, 3, 5, 9, 33, 150])
def test_the_least_is_enough_to_solve_and_adds_up(players):
    design = choose(players, max(least_samples(players), 2), 0)
    found = design.shapley(design.members @ np.arange(players, dtype=float), 7.0)
    assert found.sum() == pytest.approx(7)
    assert np.isfinite(found).all()
