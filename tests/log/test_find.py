import numpy as np
import pyarrow as pa
import pytest

from serving.log.find import Indexes
from serving.log.id_index import make_index, read_index, rows_of
from serving.log.layout import Part, part_of
from serving.log.store import Store


class Counted(Store):
    """A store as if it were far away; counts what is read."""

    def __init__(self, store):
        super().__init__(store.filesystem, store._root)
        self.reads = 0

    def read(self, path):
        self.reads += 1
        return super().read(path)


@pytest.mark.parametrize(("most", "reads"), [(10**6, 3), (50, 9), (0, 9)])
def test_indexes_are_kept_up_to_a_size(log, most, reads):
    content = make_index(pa.array([b"i" * 16], pa.binary(16)), pa.array(["c"]), 8)
    parts = [Part("predictions", "model=m/version=1/date=2026-11-30", f"p{n}", 1) for n in range(3)]
    for part in parts:
        log.store.write(part.ids, lambda file: file.write(content))
    store = Counted(log.store)
    indexes = Indexes(store, most)
    for _ in range(3):
        for part in parts:
            assert rows_of(indexes.get(part), own=None, client="c") == [0]
    assert store.reads == reads


def test_an_index_holds_where_runs_begin():
    own = [b"a" * 16] * 3 + [b"b" * 16] * 3
    clients = ["x", "x", "y", "x", "x", "x"]
    index = read_index(make_index(pa.array(own, pa.binary(16)), pa.array(clients), 4))
    assert rows_of(index, own=b"a" * 16, client="") == [0]
    assert rows_of(index, own=b"b" * 16, client="") == [3, 4]  # a row group begins at 4
    assert rows_of(index, own=None, client="x") == [0, 3, 4]
    assert rows_of(index, own=None, client="y") == [2]
    assert rows_of(index, own=b"a" * 16, client="y") == [0, 2]
    assert rows_of(index, own=b"c" * 16, client="z") == []


@pytest.mark.parametrize("words", [[], [1], [1, 0, 5], [0, 1, 5, 0, 0], [2**32 - 1, 0]])
def test_a_damaged_index_is_told(words):
    with pytest.raises(ValueError, match="cut short"):
        read_index(np.array(words, "<u4").tobytes())


@pytest.mark.parametrize(
    "path",
    ["predictions/part-a.parquet", "other/model=m/version=1/date=2026-11-30/part-a.parquet",
     "predictions/model=m/version=1/date=2026-11-30/.part-a.parquet.unfinished",
     "predictions/model=m/version=1/date=yesterday/part-a.parquet",
     "predictions/version=1/model=m/date=2026-11-30/part-a.parquet", "notes.txt", ""],
)  # fmt: skip
def test_what_is_no_part(path):
    assert part_of(path, 1) is None
