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


def test_some_rows_are_those_of_a_mask_in_every_column():
    rows = Rows(
        n=3, timestamp=1.0, columns={"x": np.arange(3)},
        guards={"g": np.array([0, 1, 2], np.uint8)},
        groups={"a": np.array(["p", None, "q"], object)}, predicted=np.arange(3),
        request_ids=["i", "j", "k"], row_index=[0, 1, 2],
    )  # fmt: skip
    some = rows.some(np.array([True, False, True]))
    assert (some.n, some.request_ids) == (2, ["i", "k"])
    assert some.columns["x"].tolist() == some.predicted.tolist() == [0, 2]
    assert some.groups["a"].tolist() == ["p", "q"]
    assert some.guards["g"].tolist() == [0, 2]
    assert list(some.row_index) == [0, 2]
    assert (list(some.positions), some.labels) == ([], None)
    assert rows.n == 3
