"""Newcombe's interval against its published examples."""

import pytest

from monitors.statistics.newcombe import newcombe


# Newcombe (1998), table II, method 10.
@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((6, 7, 2, 7), (0.0582, 0.8062)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
        ((0, 10, 0, 20), (-0.1611, 0.2775)),
        ((10, 10, 0, 20), (0.6791, 1.0)),
        ((10, 10, 0, 10), (0.6075, 1.0)),
    ],
)
def test_newcombe_reproduces_its_published_table(counts, expected):
    assert newcombe(*counts) == pytest.approx(expected, abs=5e-5)


def test_newcombe_is_antisymmetric():
    lower, upper = newcombe(7, 20, 9, 31)
    assert newcombe(9, 31, 7, 20) == pytest.approx((-upper, -lower))


@pytest.mark.parametrize("counts", [(0, 0, 1, 2), (1, 2, 0, 0), (0, 0, 0, 0)])
def test_a_group_without_trials_is_refused(counts):
    with pytest.raises(ValueError, match="trials"):
        newcombe(*counts)
