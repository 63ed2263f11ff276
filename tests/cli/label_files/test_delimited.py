from pathlib import Path

import pytest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "labels.csv"


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        ("1", 1), ("-3", -3), ("+2", 2), (" 7 ", 7), ("007", 7), ("0.5", 0.5), (".5", 0.5),
        ("2.", 2.0), ("1e3", 1000.0), ("true", True), ("FALSE", False),
        ("approved", "approved"), ("1_0", "1_0"), ("٣", "٣"), (" a ", " a "), ("1,5", "1,5"),
        ('say "yes"', 'say "yes"'), ("two\nlines", "two\nlines"),
        ("9" * 30, 1e30),
    ],
)  # fmt: skip
def test_the_type_of_a_label_is_guessed(labels, file: Path, cell: str, label: object) -> None:
    quoted = cell.replace('"', '""')
    file.write_text(f'id,y_true\na,"{quoted}"\n')
    (found,) = labels(file)
    assert found == {"id": "a", "y_true": label}
    assert type(found["y_true"]) is type(label)
    assert labels(file, as_text=True) == [{"id": "a", "y_true": cell}]


def test_what_a_row_may_say_besides(labels, file: Path) -> None:
    file.write_bytes(
        b"\xef\xbb\xbfnote,sensitive_features.sex,timestamp,y_true,index,id,sensitive_features.age"
        b"\r\n-,F,2026-01-31T12:00:00Z,1,2,a,\r\n\r\nx,,,0,,17,40\r\n"
    )
    assert labels(file) == [
        {
            "id": "a", "y_true": 1, "index": 2, "timestamp": "2026-01-31T12:00:00+00:00",
            "sensitive_features": {"sex": "F"},
        },
        {"id": "17", "y_true": 0, "sensitive_features": {"age": "40"}},
    ]  # fmt: skip
    assert labels(file, skip=1)[0]["id"] == "17"
    assert labels(file, skip=2) == []


def test_other_names_of_columns(labels, file: Path) -> None:
    file.write_text("id,request,truth\nno,a,1\n")
    form = {"id_column": "request", "label_column": "truth"}
    assert labels(file, **form) == [{"id": "a", "y_true": 1}]


@pytest.mark.parametrize(
    ("content", "before", "said"),
    [
        ("", 0, "labels.csv is empty; its first line names the columns"),
        ("\n\n", 0, "labels.csv is empty; its first line names the columns"),
        ("id,y_true\n", 0, "labels.csv has no labels"),
        ("id;y_true\na;1\n", 0, "column 'id' is missing; --id-column names another of 'id;y_true'"),
        ("id,label\na,1\n", 0, "line 1: column 'y_true' is missing; --label-column names"),
        ("id,y_true,id\na,1,b\n", 0, "line 1: column 'id' is there twice"),
        ("id,y_true,sensitive_features\na,1,F\n", 0, "write a column sensitive_features.NAME"),
        ("id,y_true,sensitive_features.\na,1,F\n", 0, "has no name after the dot"),
        ("id,y_true\na,1\n,1\n", 1, "labels.csv, row 2 (line 3): column 'id' is empty"),
        ("id,y_true\na,1\n\nb,\n", 1, "labels.csv, row 2 (line 4): column 'y_true' is empty"),
        ("id,y_true\na,NaN\n", 0, "row 1 (line 2): column 'y_true' is NaN, no finite number"),
        ("id,y_true\na,-inf\n", 0, "is -inf, no finite number"),
        ("id,y_true\na,1e400\n", 0, "column 'y_true' is infinite"),
        (f"id,y_true\na,{'9' * 5000}\n", 0, "column 'y_true' is infinite"),
        ("id,y_true\na\n", 0, "row 1 (line 2) has 1 values and the header 2"),
        ("id,y_true\na,1,2\n", 0, "row 1 (line 2) has 3 values and the header 2"),
        ("id,y_true,index\na,1,-1\n", 0, "column 'index' is no whole number from 0"),
        ("id,y_true,index\na,1,1.5\n", 0, "column 'index' is no whole number from 0"),
        ("id,y_true,index\na,1,one\n", 0, "column 'index' is no whole number from 0"),
        (f"id,y_true,index\na,1,{2**31}\n", 0, "column 'index' is no whole number from 0"),
        (f"id,y_true,index\na,1,{'9' * 5000}\n", 0, "column 'index' is no whole number from 0"),
        ("id,y_true,timestamp\na,1,today\n", 0, "column 'timestamp' is no time; write it as RFC"),
        ("id,y_true,timestamp\na,1,2026-01-31\n", 0, "column 'timestamp' has no offset from UTC"),
        ('id,y_true\na,1\n"b,1\nc,1\n', 1, "row that begins on line 3 is no CSV"),
        ('id,y_true\n"a"b,1\n', 0, "row that begins on line 2 is no CSV"),
        ("id,y_true\ra,1\r", 0, "line 1 is no CSV"),
        ('id,y_true\n"a\n\nb",1\n"c",\n', 1, "row 2 (line 5): column 'y_true' is empty"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_with_its_place(
    wrong, file: Path, content: str, before: int, said: str
) -> None:
    file.write_text(content, newline="")
    found = wrong(file)
    assert found[0] == before
    assert said in found[1]


def test_a_long_list_of_columns_is_cut(wrong, file: Path) -> None:
    file.write_text(",".join(f"c{number}" for number in range(500)) + "\n")
    assert wrong(file)[1].endswith("'c9', …")
