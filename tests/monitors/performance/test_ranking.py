import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from monitors.performance.ranking import DEPTH, ndcg, reciprocal_rank


@pytest.mark.parametrize("items", [2, 7, 30])
def test_ndcg_is_scikit_learns(items):
    rng = np.random.default_rng(items)
    scores = rng.permuted(np.tile(np.arange(items, dtype=float), (50, 1)), axis=1)
    truth = rng.integers(0, 3, (50, items)).astype(float)
    truth[0] = 0
    expected = [ndcg_score(t[None], s[None], k=DEPTH) for s, t in zip(scores, truth, strict=True)]
    assert ndcg(scores, truth) == pytest.approx(expected)


def test_reciprocal_rank_is_of_the_first_relevant_item():
    scores = np.array([[0.1, 0.9, 0.5]] * 4 + [[1.0, 1.0, 1.0]])
    truth = np.array([[0, 1, 0], [0, 0, 2], [1, 0, 0], [0, 0, 0], [0, 1, 0]], float)
    assert reciprocal_rank(scores, truth).tolist() == [1, 1 / 2, 1 / 3, 0, 1 / 2]


def test_no_rows_have_no_scores():
    nothing = np.zeros((0, 3))
    assert ndcg(nothing, nothing).shape == reciprocal_rank(nothing, nothing).shape == (0,)
