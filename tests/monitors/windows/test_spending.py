import numpy as np
import pytest

from monitors.windows.spending import QUARTER_S, levels


def test_looks_of_a_quarter_spend_the_budget():
    lengths = np.array([600.0, 6000.0, 60_000.0])
    spent = levels(lengths, 2.0) * 4 * QUARTER_S / lengths
    # 28 lookbacks share it, whatever their length.
    assert spent == pytest.approx(2.0 / 28)


def test_levels_have_bounds():
    assert levels(np.array([0.0, -5.0, 1e12]), 0.1).tolist() == [1e-12, 1e-12, 0.01]
