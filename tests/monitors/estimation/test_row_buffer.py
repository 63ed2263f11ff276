import json

import numpy as np
import pytest
from numpy.testing import assert_equal

from monitors.estimation.row_buffer import RowBuffer


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "codes": rng.integers(0, 200, (n, 3)).astype(np.uint8),
        "scores": np.where(rng.random((n, 2)) < 0.1, np.nan, rng.random((n, 2))),
        "predicted": rng.integers(0, 2, n),
    }


def test_rows_come_out_as_they_went_in_also_after_a_restart():
    whole, parts = rows(10), RowBuffer()
    for first, last in ((0, 4), (4, 4), (4, 10)):
        parts.add({name: array[first:last] for name, array in whole.items()}, last - first)
    again = RowBuffer()
    again.restore(json.loads(json.dumps(parts.state(), allow_nan=False)))
    assert again.rows == 10
    assert again.state() == parts.state()
    for buffer in (parts, again):
        found = buffer.take()
        assert_equal(found, whole)
        assert (buffer.rows, buffer.take()) == (0, {})


def test_nothing_is_kept_of_arrays_that_change_later():
    buffer, given = RowBuffer(), np.arange(3.0)
    buffer.add({"x": given}, 3)
    given[:] = 9
    assert buffer.take()["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("arrays", [{"x": ["|O", [2], "AAAA"]}, {"x": ["<f8", [3], "AAAA"]}])
def test_what_was_not_saved_is_refused(arrays):
    buffer = RowBuffer()
    with pytest.raises(ValueError, match="not what was saved"):
        buffer.restore({"rows": 2, "arrays": arrays})
    assert buffer.rows == 0
