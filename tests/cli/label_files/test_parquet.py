from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.cli.label_files.parquet import BATCH

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "labels.parquet"


def write(file: Path, **columns: Any) -> None:
    pq.write_table(
        pa.table({name.replace("__", "."): each for name, each in columns.items()}), file
    )


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (pa.array([1, 0], pa.uint8()), [1, 0]),
        (pa.array([0.5, 1], pa.float32()), [0.5, 1.0]),
        (pa.array(np.array([0.5, 1], np.float16)), [0.5, 1.0]),
        (pa.array([Decimal("1.5"), Decimal(2)]), [1.5, 2.0]),
        (pa.array([True, False]), [True, False]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([[1, 2], [3]]), [[1, 2], [3]]),
        (pa.array([[1.5, 2], [3, 4]], pa.list_(pa.float32(), 2)), [[1.5, 2.0], [3.0, 4.0]]),
    ],
)
def test_every_type_that_a_label_may_have(labels, file: Path, values: Any, found: Any) -> None:
    write(file, id=[1, 2], y_true=values)
    assert [label["y_true"] for label in labels(file)] == found


def test_what_a_row_may_say_besides(labels, file: Path) -> None:
    write(
        file,
        inputs=pa.array([{"x": 1}, {"x": 2}]),
        id=["a", "b"],
        y_true=[1, 0],
        index=pa.array([2.0, None]),
        timestamp=pa.array([1_769_860_800_000_000_001, None], pa.timestamp("ns", "UTC")),
        sensitive_features__sex=pa.array(["F", None]).dictionary_encode(),
        sensitive_features__age=pa.array([40, None]),
    )
    assert labels(file) == [
        {
            "id": "a", "y_true": 1, "index": 2, "timestamp": NOON.isoformat(),
            "sensitive_features": {"sex": "F", "age": "40"},
        },
        {"id": "b", "y_true": 0},
    ]  # fmt: skip


@pytest.mark.parametrize("skip", [0, 1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH, 2 * BATCH + 5])
def test_rows_are_skipped_across_batches(labels, file: Path, skip: int) -> None:
    number = 2 * BATCH + 5
    write(file, id=list(range(number)), y_true=[1] * number)
    found = [label["id"] for label in labels(file, skip=skip)]
    assert found == [str(at) for at in range(skip, number)]


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("id", pa.array([1.5]), "column 'id' is of type double; write text or whole numbers"),
        ("id", pa.array([b"a"]), "column 'id' is of type binary"),
        ("y_true", pa.array([{"a": 1}]), "column 'y_true' is of type struct"),
        ("y_true", pa.array([[["a"]]]), "column 'y_true' is of type list"),
        ("y_true", pa.array([["a"]]), "column 'y_true' is of type list"),
        ("y_true", pa.array([NOON]), "column 'y_true' is of type timestamp"),
        ("index", pa.array(["1"]), "column 'index' is of type string; write whole numbers"),
        ("timestamp", pa.array([NOON.replace(tzinfo=None)]), "write timestamps with a time zone"),
        ("timestamp", pa.array([NOON.date()]), "write timestamps with a time zone"),
        ("sensitive_features", pa.array([{"sex": "F"}]), "write a column sensitive_features.NAME"),
        (
            "sensitive_features.x",
            pa.array([0.5]),
            "column 'sensitive_features.x' is of type double",
        ),
    ],
)
def test_a_column_of_another_type_is_named(
    wrong, file: Path, column: str, values: Any, said: str
) -> None:
    write(file, **({"id": ["a"], "y_true": [1]} | {column: values}))
    before, words = wrong(file)
    assert before == 0
    assert words.startswith("labels.parquet: column ")
    assert said in words


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("id", None, "column 'id' is empty"),
        ("y_true", None, "column 'y_true' is empty"),
        ("y_true", float("nan"), "column 'y_true' is NaN; write a finite number"),
        ("y_true", float("inf"), "column 'y_true' is infinite"),
        ("index", -1, "column 'index' is no whole number from 0"),
        ("index", 0.5, "column 'index' is no whole number from 0"),
        ("timestamp", "2026-01-31T12:00:00", "column 'timestamp' has no offset from UTC"),
    ],
)
def test_a_row_that_is_no_label_is_named(
    wrong, file: Path, column: str, value: object, said: str
) -> None:
    good = {"id": "a", "y_true": 1.0, "index": 0, "timestamp": NOON.isoformat()}
    write(file, **{name: [good[name]] * 2 + [(good | {column: value})[name]] for name in good})
    before, words = wrong(file)
    assert before == 2
    assert words.startswith(f"labels.parquet, row 3: {said}")


def test_columns_are_missing_or_there_twice(wrong, file: Path) -> None:
    write(file, id=["a"], label=[1])
    said = (
        "labels.parquet: column 'y_true' is missing; --label-column names another of 'id', 'label'"
    )
    assert wrong(file) == (0, said)
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 3, ["id", "y_true", "y_true"]), file)
    assert "column 'y_true' is there twice" in wrong(file)[1]


def test_a_file_without_rows(wrong, file: Path) -> None:
    write(file, id=pa.array([], pa.string()), y_true=pa.array([], pa.int64()))
    assert wrong(file) == (0, "labels.parquet has no labels; write a row for each")


@pytest.mark.parametrize("content", [b"", b"id,y_true\n", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_parquet(wrong, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert wrong(file)[1].startswith("labels.parquet is no Parquet file: ")


def test_a_time_that_python_has_not_is_named(wrong, file: Path) -> None:
    write(file, id=["a"], y_true=[1], timestamp=pa.array([2**60], pa.timestamp("us", "UTC")))
    assert wrong(file)[1].startswith("labels.parquet cannot be read after row 0: ")


def test_a_damaged_file_is_pushed_up_to_the_damage(wrong, file: Path) -> None:
    table = pa.table({"id": [f"{at}" for at in range(4000)], "y_true": [1] * 4000})
    pq.write_table(table, file, row_group_size=1000, compression="none", use_dictionary=False)
    content = bytearray(file.read_bytes())
    start = pq.ParquetFile(file).metadata.row_group(2).column(0).data_page_offset
    content[start : start + 40] = b"\xff" * 40
    file.write_bytes(content)
    before, words = wrong(file)
    assert before == 2000
    assert words.startswith("labels.parquet cannot be read after row 2000: ")


def test_a_file_with_wrong_columns_is_closed(
    wrong, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []

    class Noted(pq.ParquetFile):
        def close(self, force: bool = False) -> None:
            closed.append(force)
            super().close(force=force)

    monkeypatch.setattr(pq, "ParquetFile", Noted)
    write(file, id=["a"])
    assert "column 'y_true' is missing" in wrong(file)[1]
    assert closed == [True]
