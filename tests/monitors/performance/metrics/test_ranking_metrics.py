import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

from monitors.performance.metrics.estimate import Level, Outcomes
from monitors.performance.metrics.ranking_metrics import RankingCounts


def test_equal_scikit_learn_and_leave_out_rows_without_numbers():
    rng = np.random.default_rng(0)
    scores = rng.random((50, 6))
    labels = np.eye(6)[rng.integers(0, 6, 50)]
    counts = RankingCounts()
    sums = np.zeros(counts.columns)
    with_none = np.vstack([scores, np.full((1, 6), np.nan)])
    counts.add(sums, Outcomes(with_none, np.vstack([labels, labels[:1]])))
    level = Level(np.array([0.025]), np.array([1.0]))
    found = {each.name: each.of(sums[None], level) for each in counts.metrics}
    # Of one relevant item a row the average precision is the reciprocal rank.
    assert found["mrr"].value[0] == pytest.approx(
        label_ranking_average_precision_score(labels, scores), rel=1e-12
    )
    assert found["ndcg"].value[0] == pytest.approx(ndcg_score(labels, scores, k=10), rel=1e-12)
    assert found["mrr"].rows[0] == 50
    counts.add(sums, Outcomes(scores, labels), -1.0)
    assert np.abs(sums).max() < 1e-12
    assert counts.metrics[0].why(sums) == "too few answers of the window were numbers"
