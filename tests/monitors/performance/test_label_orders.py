"""Which rows are ordered, with which probability, and that their labels mislead nobody."""

import numpy as np
import pytest
from scipy.special import expit

from monitors.performance.label_orders import LabelOrders, inclusion


def pool(n, seed=0):
    """Keys and scores of a classifier that is right with the probability that it states."""
    rng = np.random.default_rng(seed)
    stated = expit(rng.normal(2.6, 1.2, n))
    stated = np.maximum(stated, 1 - stated)
    right = rng.random(n) < stated
    keys = [(f"r{at}", 0) for at in range(n)]
    return keys, [[1 - each, each] for each in stated.tolist()], right


def test_half_are_drawn_at_random_and_the_others_look_hard():
    keys, scores, _ = pool(5000)
    found = LabelOrders().draw(keys, scores, 400, seed=1)
    at_random = [each for each in found if each.at_random]
    chosen = [each for each in found if not each.at_random]
    assert len(at_random) == 200
    assert 180 <= len(chosen) <= 200
    stated = {key: score[1] for key, score in zip(keys, scores, strict=True)}
    means = [np.mean([stated[each.key] for each in part]) for part in (at_random, chosen)]
    assert means[1] < means[0] - 0.02
    assert len({each.key for each in found}) == len(found)


def test_propensities_are_those_of_many_draws():
    keys, scores, _ = pool(60)
    counts = dict.fromkeys(keys, 0)
    for seed in range(4000):
        drawn = LabelOrders().draw(keys, scores, 12, seed)
        for each in drawn:
            counts[each.key] += 1
    told = {}
    for seed in range(100):
        told |= {each.key: each.propensity for each in LabelOrders().draw(keys, scores, 12, seed)}
    assert told.keys() == set(keys)
    for key, propensity in told.items():
        error = np.sqrt(propensity * (1 - propensity) / 4000)
        assert counts[key] / 4000 == pytest.approx(propensity, abs=5 * error)


def test_weights_of_an_order_undo_its_choice():
    """Inverse propensities estimate the accuracy of all rows; the plain mean does not."""
    keys, scores, right = pool(4000)
    of = dict(zip(keys, right, strict=True))
    plain, weighted = [], []
    for seed in range(200):
        drawn = LabelOrders().draw(keys, scores, 200, seed)
        values = np.array([of[each.key] for each in drawn], float)
        weights = np.array([1 / each.propensity for each in drawn])
        plain.append(values.mean())
        weighted.append((values * weights).sum() / weights.sum())
    spread = np.std(weighted) / np.sqrt(200)
    assert np.mean(weighted) == pytest.approx(right.mean(), abs=4 * spread)
    assert np.mean(plain) < right.mean() - 0.01


def test_later_orders_are_still_samples_of_all_rows():
    """What was chosen before may be drawn at random, else later samples lacked hard rows."""
    keys, scores, right = pool(600)
    of = dict(zip(keys, right, strict=True))
    found = []
    for seed in range(300):
        orders = LabelOrders()
        orders.draw(keys, scores, 240, seed)
        rest = [at for at, key in enumerate(keys) if not orders.drawn_at_random(key)]
        second = orders.draw(
            [keys[at] for at in rest], [scores[at] for at in rest], 240, seed + 10_000
        )
        found.append(np.mean([of[each.key] for each in second if each.at_random]))
    assert np.mean(found) == pytest.approx(right.mean(), abs=4 * np.std(found) / np.sqrt(300))


def test_without_scores_all_are_drawn_at_random():
    keys, _, _ = pool(50)
    found = LabelOrders().draw(keys, [None] * 50, 20, seed=0)
    assert [each.at_random for each in found] == [True] * 20
    assert {each.propensity for each in found} == {0.4}


@pytest.mark.parametrize("n", [0, 1, 7])
def test_few_rows_are_all_that_is_wanted(n):
    keys, scores, _ = pool(n)
    found = LabelOrders().draw(keys, scores, 200, seed=0)
    assert {each.key for each in found} <= set(keys)
    assert all(0 < each.propensity <= 1 for each in found)
    assert bool(found) == bool(n)


def test_scores_that_are_no_numbers_are_taken():
    keys, scores, _ = pool(40)
    scores[3], scores[4], scores[5] = None, [float("nan"), 0.5], [0.2, 0.3, 0.5][:1]
    assert LabelOrders().draw(keys, scores, 20, seed=0)


def test_inclusion_is_in_proportion_and_at_most_one():
    found = inclusion(np.array([1.0, 1.0, 2.0, 100.0, 0.0]), 3)
    assert found.tolist() == [0.5, 0.5, 1.0, 1.0, 0.0]
    assert inclusion(np.array([1.0, 0.0]), 5).tolist() == [1.0, 0.0]
    assert inclusion(np.zeros(3), 2).tolist() == [0.0, 0.0, 0.0]


def test_orders_outlive_a_restart_and_forget_requests():
    keys, scores, _ = pool(100)
    orders, again = LabelOrders(), LabelOrders()
    found = orders.draw(keys, scores, 40, seed=0)
    again.restore(orders.state())
    for each in found:
        assert again.held_out(each.key) is not each.at_random
        assert again.drawn_at_random(each.key) is each.at_random
    again.forget_requests({found[-1].key[0]})
    assert not again.held_out(found[-1].key)
    assert orders.state() != again.state()
