import json

import numpy as np
import pytest

from monitors.windows.aged_blocks import AgedBlocks, packed, unpacked
from monitors.windows.ageing import OLDEST, quarters


def filled(windows):
    """Window k, from 1 on, counts k rows of one column, at the positions that follow."""
    blocks, position = AgedBlocks(1), 0
    for number in range(1, windows + 1):
        blocks.open(float(number), np.arange(position, position + number))[0] += number
        position += number
        blocks.close()
    return blocks


def test_lookbacks_are_sums_of_the_newest_windows():
    windows, since, sums = filled(6).lookbacks()
    assert windows.tolist() == [1, 2, 3, 4, 5, 6]
    assert since.tolist() == [6, 5, 4, 3, 2, 1]
    assert sums[:, 0].tolist() == [6, 11, 15, 18, 20, 21]


def test_blocks_grow_with_age_and_end():
    windows, _since, sums = filled(3000).lookbacks()
    assert len(windows) < 40
    assert windows[-1] <= OLDEST < windows[-1] * 1.2
    for length, total in zip(windows.tolist(), sums[:, 0].tolist(), strict=True):
        assert total == sum(range(3001 - length, 3001))


def test_the_open_window_is_in_no_lookback():
    blocks = filled(3)
    blocks.open(9.0, np.array([6]))[0] += 50
    assert blocks.lookbacks()[2][:, 0].tolist() == [3, 5, 6]
    assert blocks.total().tolist() == [56]
    assert AgedBlocks(2).total().tolist() == [0, 0]


def test_stretches_between_two_ages():
    blocks = filled(128)
    assert blocks.between(0, 64)[0] == sum(range(65, 129))
    assert blocks.between(64, 128)[0] == sum(range(1, 65))
    assert blocks.between(0, 129) is None
    assert AgedBlocks(1).between(0, 1) is None


def test_rows_are_found_by_their_positions():
    blocks = filled(3)
    blocks.open(9.0, np.array([6]))[0] += 1
    found = blocks.places(np.array([0, 2, 3, 7, -1]))
    assert [(block.number, at.tolist()) for block, at in found] == [
        (0, [True, False, False, False, False]),
        (1, [False, True, False, False, False]),
        (2, [False, False, True, False, False]),
        (3, [False, False, False, True, False]),
    ]
    unknown = AgedBlocks(1)
    unknown.open(1.0, ())
    assert unknown.places(np.array([0, 5])) == []


def test_state_brings_it_back():
    blocks, again = filled(40), AgedBlocks(1)
    again.restore(json.loads(json.dumps(blocks.state())))
    for one, other in zip(blocks.lookbacks(), again.lookbacks(), strict=True):
        assert one.tolist() == other.tolist()
    assert again.windows == 40
    with pytest.raises(ValueError, match="are 1 numbers, not 2"):
        AgedBlocks(2).restore(blocks.state())


def test_packed_numbers_are_the_same():
    values = np.array([0.1, 0.0, -5e300])
    assert unpacked(packed(values), 3).tolist() == values.tolist()
    with pytest.raises(ValueError, match="no packed numbers"):
        unpacked("aGVsbG8=", 3)


def test_a_quarter_of_each_lookback():
    assert quarters(np.array([1, 2, 4, 8, 16, 33])).tolist() == [0, 0, 0, 1, 2, 3]
