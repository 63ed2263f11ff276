"""What is saved of a law."""

import json

import numpy as np
import pytest

from monitors.alarms.cell import Cell
from monitors.alarms.recording import BLOCK, MOST_CELLS, Recording, read


def cells(k, number, rng):
    return [
        Cell(first=at, last=at + 0.5, n=at + 1, counts=rng.random(k), sums=rng.random(k),
             squares=rng.random(k))
        for at in range(number)
    ]  # fmt: skip


@pytest.mark.parametrize("k", [1, 500])
def test_all_that_was_known_and_the_cells_since_come_back(k):
    recording = Recording()
    recording.begin({"windows": 7}, b"everything")
    shown = cells(k, 20, np.random.default_rng(0))
    for each in shown:
        recording.add(each, each.last + 1)
    found = read(json.loads(json.dumps(recording.state())), k)
    assert (found.known, found.arrays) == ({"windows": 7}, b"everything")
    assert len(found.cells) == recording.cells == 20
    for (cell, now), each in zip(found.cells, shown, strict=True):
        assert (cell.first, cell.last, cell.n, now) == (each.first, each.last, each.n, now)
        np.testing.assert_array_equal(cell.squares, each.squares)
    recording.begin({"windows": 27}, b"more")
    assert read(recording.state(), k).cells == []


def test_long_texts_stay_the_same_objects_and_what_changes_is_short():
    recording = Recording()
    recording.begin({}, bytes(100_000))
    seen = {id(recording.state()["arrays"])}
    blocks: list[str] = []
    for each in cells(200, MOST_CELLS, np.random.default_rng(0)):
        assert not recording.full
        recording.add(each, 0)
        state = recording.state()
        seen.add(id(state["arrays"]))
        assert all(one is other for one, other in zip(blocks, state["blocks"], strict=False))
        blocks = state["blocks"]
        assert len(state["open"]) < BLOCK * 4 / 3 + 4
    assert recording.full
    assert len(seen) == 1
    assert len(blocks) > 10


def test_cells_of_another_number_of_streams_are_refused():
    recording = Recording()
    recording.add(cells(3, 1, np.random.default_rng(0))[0], 0)
    with pytest.raises(ValueError, match="another number of streams"):
        read(recording.state(), 2)
