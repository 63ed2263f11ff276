from pathlib import Path

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
