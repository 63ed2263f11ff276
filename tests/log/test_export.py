"""Exports: bounded in memory, and neutral to spreadsheets."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest

from serving.errors import InvalidInput
from serving.log.export import export


def reader(**columns):
    table = pa.table(columns)
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches())


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_text_that_spreadsheets_run_is_disarmed(text):
    for raw, expected in ((False, f"'{text}"), (True, text)):
        out = io.BytesIO()
        columns = {
            "a": [text, "x" + text, None],
            "b": [-1, 2, 3],
            "c": pa.array([text.encode()] * 3),
        }
        assert export(reader(**columns), out, "csv", raw=raw) == 3
        first, second, third = out.getvalue().decode().split("\n", 1)[1].split("\n")[:3]
        assert first.startswith(f'"{expected}",-1,')
        assert second.startswith(f'"x{text}",2,')
        assert third.startswith(",3,")
        assert (",-1,\"'" in first) is (not raw and text[0] not in "\t\r")


def test_rows_are_written_as_they_come_and_their_number_is_told():
    schema = pa.schema([("a", pa.int64())])
    told: list[int] = []

    def batches():
        for n in range(50):
            yield pa.record_batch({"a": pa.array([n] * 10_000)})
            made.append(n)

    for form in ("csv", "json", "parquet"):
        made: list[int] = []
        told.clear()
        rows = pa.RecordBatchReader.from_batches(schema, batches())
        out = io.BytesIO()
        assert export(rows, out, form, progress=told.append) == 500_000
        assert told[-1] == 500_000
        assert len(told) > 5
        assert told == sorted(told)


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_what_the_rows_raise_is_raised(tmp_path, form):
    def batches():
        yield pa.record_batch({"a": pa.array([1])})
        raise InvalidInput("the condition is wrong")

    rows = pa.RecordBatchReader.from_batches(pa.schema([("a", pa.int64())]), batches())
    with pytest.raises(InvalidInput, match=r"^the condition is wrong$"):
        export(rows, tmp_path / "x", form)
    assert list(tmp_path.iterdir()) == []
