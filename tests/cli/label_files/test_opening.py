from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("labels.txt", "labels.txt: its suffix says no format; name it .csv, .jsonl"),
        ("labels", "its suffix says no format"),
        ("labels.csv.gz", "its suffix says no format"),
        ("none.csv", "none.csv: No such file or directory"),
        ("none.parquet", "none.parquet: No such file or directory"),
        ("folder.jsonl", "folder.jsonl: Is a directory"),
        ("folder.pq", "folder.pq: Is a directory"),
        ("a\0.csv", "it is no name of a file"),
    ],
)
def test_what_cannot_be_opened(wrong, tmp_path: Path, name: str, said: str) -> None:
    for folder in ("folder.jsonl", "folder.pq"):
        (tmp_path / folder).mkdir()
    assert said in wrong(tmp_path / name)[1]


@pytest.mark.parametrize("name", ["a.CSV", "a.b.csv"])
def test_the_last_suffix_counts_in_any_case(labels, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("id,y_true\na,1\n")
    assert labels(tmp_path / name) == [{"id": "a", "y_true": 1}]


ROWS = {
    "labels.csv": "id,y_true\na,1\n\nb,0\n",
    "labels.jsonl": '{"id": "a", "y_true": 1}\n\n{"id": "b", "y_true": 0}\n',
}


@pytest.fixture(params=[*ROWS, "labels.parquet"])
def two_rows(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file with two labels in each format."""
    file = tmp_path / request.param
    if file.name in ROWS:
        file.write_text(ROWS[file.name])
    else:
        pq.write_table(pa.table({"id": ["a", "b"], "y_true": [1, 0]}), file)
    return file


@pytest.mark.parametrize("skip", [0, 1, 2])
def test_as_many_rows_as_there_are_may_be_skipped(labels, two_rows: Path, skip: int) -> None:
    assert [label["id"] for label in labels(two_rows, skip=skip)] == ["a", "b"][skip:]


@pytest.mark.parametrize("skip", [3, 5000])
def test_more_rows_than_there_are_cannot_be_skipped(wrong, two_rows: Path, skip: int) -> None:
    said = f"{two_rows.name} has 2 rows, fewer than --skip {skip} leaves out; correct one of them"
    assert wrong(two_rows, skip=skip) == (0, said)
