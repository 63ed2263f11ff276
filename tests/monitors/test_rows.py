import numpy as np
import pytest

from monitors.rows import Rows


@pytest.mark.parametrize("part", [slice(0, 3), slice(2, None), slice(1, 1), slice(4, 99)])
def test_a_part_has_the_same_rows_of_everything(make_rows, part):
    ids = ["a", "b", "c", "d", "e"]
    whole = make_rows(
        {"x": np.arange(10).reshape(5, 2)}, {"y": np.eye(5)}, {"sex": list("mfmfm")}, ids=ids
    )
    some = whole.part(part)
    assert some.n == len(ids[part])
    assert some.columns["x"].tolist() == whole.columns["x"][part].tolist()
    assert some.outputs["y"].tolist() == np.eye(5)[part].tolist()
    assert some.groups["sex"].tolist() == list("mfmfm")[part]
    assert some.predicted.tolist() == list(range(5))[part]
    assert (some.request_ids, len(some.row_index)) == (ids[part], some.n)
    assert some.labels is None


def test_a_part_of_labelled_rows_has_their_labels():
    rows = Rows(n=3, timestamp=7.0, predicted=np.array([0, 1, 2]), labels=np.array([2, 1, 0]))
    some = rows.part(slice(1, None))
    assert (some.n, some.timestamp, some.labels.tolist()) == (2, 7.0, [1, 0])
