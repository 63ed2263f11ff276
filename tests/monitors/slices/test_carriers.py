import numpy as np
import pytest

from monitors.slices.carriers import carriers

N = 4000


def world():
    rng = np.random.default_rng(0)
    side = lambda: {"a": rng.normal(size=N), "b": rng.choice(["x", "y"], N)}  # noqa: E731
    return rng, side(), side(), np.ones(N, np.bool_)


def test_a_covariate_shift_is_carried_by_what_moved_to_where_losses_are():
    _, before, now, seen = world()
    now["a"] = now["a"] + 1
    losses = (before["a"] > 1) * 1.0
    found = carriers("covariate shift", before, losses, now, losses, seen)
    assert found[0][0] == "a"
    assert found[0][1] > 0.9
    assert sum(weight for _, weight in found) == pytest.approx(1)


def test_a_concept_shift_is_carried_by_what_tells_where_losses_changed():
    rng, before, now, seen = world()
    losses = rng.random(N)
    found = carriers("concept shift", before, losses, now, losses + (now["b"] == "x"), seen)
    assert found[0][0] == "b"
    assert found[0][1] > 0.9


def test_an_unseen_region_is_carried_by_what_sets_it_apart():
    rng, before, now, seen = world()
    seen[:500] = False
    now["b"] = np.where(seen, now["b"], "z")
    found = carriers("unseen region", before, rng.random(N), now, rng.random(N), seen)
    assert found[0][0] == "b"


def test_a_change_that_is_the_same_everywhere_is_carried_by_nothing():
    rng, _, _, seen = world()
    alike = {"c": np.ones(N)}
    found = carriers("concept shift", alike, rng.random(N), alike, rng.random(N) + 1, seen)
    assert found == [("c", 0.0)]
