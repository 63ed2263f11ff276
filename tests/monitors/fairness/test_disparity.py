import math

import pytest
from fairlearn.metrics import MetricFrame, selection_rate

from monitors.fairness.disparity import confidence_per_pair, disparity
from monitors.fairness.group_cells import Cell
from monitors.statistics.newcombe import newcombe

CELLS = [Cell(20, 100), Cell(45, 150), Cell(40, 50)]


def test_difference_and_ratio_are_fairlearns():
    groups = [name for name, cell in zip("abc", CELLS, strict=True) for _ in range(cell.rows)]
    hits = [at < cell.hits for cell in CELLS for at in range(cell.rows)]
    frame = MetricFrame(metrics=selection_rate, y_true=hits, y_pred=hits, sensitive_features=groups)
    found = disparity(CELLS, 0.95)
    assert found.difference == pytest.approx(frame.difference(), abs=1e-12)
    assert found.ratio == pytest.approx(frame.ratio(), abs=1e-12)
    assert found.interval == newcombe(40, 50, 20, 100, 0.95)
    assert found.rows == 300


@pytest.mark.parametrize("cells", [[], [Cell(3, 20)]])
def test_there_is_none_without_a_second_group(cells):
    found = disparity(cells, 0.95)
    assert math.isnan(found.difference)
    assert math.isnan(found.ratio)
    assert (found.interval, found.rows) == (None, sum(cell.rows for cell in cells))


def test_without_a_hit_there_is_no_ratio():
    found = disparity([Cell(0, 20), Cell(0, 30)], 0.95)
    assert found.difference == 0
    assert math.isnan(found.ratio)


@pytest.mark.parametrize(
    ("groups", "attributes", "intervals"), [(2, 1, 1), (3, 1, 3), (4, 2, 12), (1, 1, 1), (0, 3, 3)]
)
def test_the_error_is_shared_by_all_pairs(groups, attributes, intervals):
    each = confidence_per_pair(0.9, groups, attributes)
    assert (1 - each) * intervals == pytest.approx(0.1)
