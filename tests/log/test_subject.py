"""Which rows are a subject's: columns of texts, numbers, truth values and bytes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.errors import InvalidInput
from serving.log.forget import forget
from serving.log.layout import Part
from serving.log.subject import Subject, holds_some, matches

PART = Part("predictions", "model=m/version=1/date=2026-11-30", "p", 1)
COLUMNS = {
    "text": pa.array(["7", "x", None]),
    "whole": pa.array([7, -1, None], pa.int8()),
    "real": pa.array([7.5, float("nan"), None]),
    "truth": pa.array([True, False, None]),
    "raw": pa.array([b"7", b"x", None]),
    "lists": pa.array([[7], [], None]),
}


@pytest.fixture
def part(log):
    own = {
        "id": pa.array([bytes([at]) * 16 for at in range(3)], pa.binary(16)),
        "row": pa.array([0, 1, 2]), "client_id": pa.array(list("abc")), "index": pa.array([0] * 3),
    }  # fmt: skip
    log.store.write(PART.path, lambda file: pq.write_table(pa.table(own | COLUMNS), file))
    return PART


@pytest.mark.parametrize(
    ("by", "value", "found"),
    [("text", "x", "b"), ("text", "", ""), ("whole", "-1", "b"), ("whole", "7.0", ""),
     ("whole", "1000", ""), ("real", "7.5", "a"), ("real", "nan", ""), ("real", "x", ""),
     ("truth", "FALSE", "b"), ("truth", "0", ""), ("raw", "7", "a"), ("lists", "7", ""),
     ("client_id", "c", "c")],
)  # fmt: skip
def test_a_value_is_compared_as_its_column_writes_it(log, part, by, value, found):
    assert matches(log.store, part, Subject(value, by))["client_id"].to_pylist() == list(found)


def test_a_part_without_the_column_tells_nothing(log, part):
    assert matches(log.store, part, Subject("x", "other")) is None


def test_a_key_is_an_id_and_a_row(log, part):
    first, second = (bytes([at]) * 16 for at in range(2))
    assert holds_some(log.store, part, {(first, 0)})
    assert not holds_some(log.store, part, {(first, 1), (second, 0)})
    assert not holds_some(log.store, part, set())


def test_what_of_a_subject_is_looked_for():
    assert (Subject("five5").text, Subject("sixsix").text) == (b"", b"sixsix")
    assert (Subject("x").ident, Subject("x", "principal").ident) == ("x", None)


def test_columns_of_numbers(log, rows):
    writer = log.writer()
    inputs = {"x": np.array([1.5, 2.5, np.nan], np.float32), "n": np.array([7, -1, 2**40])}
    writer.offer(rows(3, inputs=inputs))
    writer.close()
    for value, by in (("1.5", "in_x"), ("-1", "in_n"), ("many", "in_n"), ("nan", "in_x")):
        forget(log.store, log.spool, Subject(value, by))
    assert log.table()["in_n"].to_pylist() == [2**40]
    with pytest.raises(InvalidInput, match="no file of the log has a column 'in_z'"):
        forget(log.store, log.spool, Subject("1", "in_z"))
