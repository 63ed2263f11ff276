import itertools

import numpy as np
import pytest

from monitors.slices import search as module
from monitors.slices.discretised import discretised
from monitors.slices.objectives import DisparityObjective, ErrorObjective
from monitors.slices.search import search


def world(seed):
    rng = np.random.default_rng(seed)
    n = 1500
    columns = {
        "a": rng.integers(0, 5, n),
        "b": rng.choice(["x", "y", "z"], n),
        "c": rng.normal(size=n),
    }
    errors = (rng.random(n) < 0.1 + 0.4 * ((columns["a"] == 2) & (columns["b"] == "x"))) * 1.0
    return discretised(columns), errors, rng.random(n) < 0.5


def everything(table, objective, depth):
    """Scores of all slices, without any pruning."""
    found = {}
    for size in range(1, depth + 1):
        for conditions in itertools.combinations(table.conditions, size):
            if len({each.feature for each in conditions}) == size:
                rows = table.holds(conditions)
                sums = objective.values[rows].sum(axis=0)[:, None]
                score = objective.score(np.array([rows.sum()]), sums)[0]
                if score > 0:
                    found.setdefault(rows.tobytes(), score)
    return sorted(found.values(), reverse=True)


@pytest.mark.parametrize("seed", range(3))
def test_pruning_loses_no_slice(seed):
    table, errors, members = world(seed)
    for objective in (ErrorObjective(errors, 0.95), DisparityObjective(errors, members, 0.95)):
        expected = everything(table, objective, 3)
        found = search(table, objective, 3)
        assert found.complete
        scores = [each.score for each in found.slices]
        assert scores == pytest.approx(expected[: len(scores)])
        assert len(scores) == min(len(expected), module._KEPT)


def test_a_bound_on_memory_is_told(monkeypatch):
    table, errors, _ = world(0)
    monkeypatch.setattr(module, "_MOST_PARENTS", 2)
    found = search(table, ErrorObjective(errors, 0.95), 3)
    assert not found.complete
    assert found.slices


def test_slices_have_no_more_conditions_than_asked():
    table, errors, _ = world(0)
    for depth in (1, 2):
        found = search(table, ErrorObjective(errors, 0.95), depth)
        assert max(len(each.conditions) for each in found.slices) == depth


def test_columns_without_conditions():
    table = discretised({"a": np.ones(200)})
    found = search(table, ErrorObjective(np.repeat([0.0, 1.0], 100), 0.95), 3)
    assert found.slices == []
