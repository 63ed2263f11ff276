import numpy as np
import pytest

from monitors.slices.objectives import DisparityObjective, ErrorObjective, gap_of


def test_the_score_is_that_of_the_paper():
    errors = np.repeat([0.0, 1.0], [900, 100])
    objective = ErrorObjective(errors, 0.95)
    # alpha (mean error / average - 1) - (1 - alpha) (n / rows - 1)
    score = objective.score(np.array([100, 31]), np.array([[50, 31]]))
    assert score[0] == pytest.approx(0.95 * 4 - 0.05 * 9)
    assert score[1] == -np.inf


def sums_of(objective, rows):
    return np.array([len(rows)]), objective.values[rows].sum(axis=0)[:, None]


@pytest.mark.parametrize("seed", range(5))
def test_no_part_of_a_slice_scores_more_than_the_bound(seed):
    rng = np.random.default_rng(seed)
    n = 2000
    hits = (rng.random(n) < 0.2).astype(float)
    members = rng.random(n) < 0.4
    for objective in (
        ErrorObjective(hits, 0.95),
        ErrorObjective(rng.exponential(size=n), 0.8),
        DisparityObjective(hits, members, 0.95),
    ):
        whole = rng.permutation(n)[: rng.integers(200, 1500)]
        bound = objective.bound(*sums_of(objective, whole), objective.values[whole, 0].max())[0]
        worst = objective.values[whole, -1].argsort()[::-1]
        for size in range(50, len(whole), 97):
            for part in (rng.permutation(whole)[:size], whole[worst[:size]]):
                assert objective.score(*sums_of(objective, part))[0] <= bound + 1e-9


def test_bounds_of_too_few_rows():
    objective = ErrorObjective(np.repeat([0.0, 1.0], 500), 0.95)
    assert objective.bound(np.array([31]), np.array([[31.0]]), 1.0)[0] == -np.inf


def test_gaps_count_in_both_directions_and_need_both_groups():
    hits, members = np.tile([1.0, 1.0, 0.0, 0.0], 200), np.tile([True, False], 400)
    objective = DisparityObjective(hits, members, 0.95)
    assert gap_of(hits, members) == 0
    rows = np.array([200, 200, 200])
    own = np.array([100, 100, 20])
    scores = objective.score(rows, np.array([own, [80, 20, 20], [20, 80, 0]], float))
    assert scores[0] == scores[1] > 0
    assert scores[2] == -np.inf
