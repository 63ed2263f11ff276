import json
from pathlib import Path

import pytest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "labels.jsonl"


def test_labels_are_as_they_stand(labels, file: Path) -> None:
    rows = [
        {"id": "a", "y_true": "approved", "index": 3, "timestamp": "2026-01-31T12:00:00+01:00"},
        {"id": "b", "y_true": [1, 2.5], "sensitive_features": {"sex": "F", "age": 40, "new": True}},
        {"id": "c", "y_true": True, "note": {"any": ["thing"]}},
        {"id": 17, "y_true": 2**70, "index": None, "timestamp": None, "sensitive_features": None},
    ]
    file.write_text("\n\n".join(map(json.dumps, rows)))
    found = labels(file)
    del rows[2]["note"]
    rows[1]["sensitive_features"]["age"] = "40"
    assert found == [*rows[:3], {"id": "17", "y_true": float(2**70)}]
    assert [label["id"] for label in labels(file, skip=2)] == ["c", "17"]


def test_labels_as_text(labels, file: Path) -> None:
    values = [1, 1.0, 0.5, True, "a", [1]]
    file.write_text("\n".join(json.dumps({"id": "a", "y_true": value}) for value in values))
    found = [label["y_true"] for label in labels(file, as_text=True)]
    assert found == ["1", "1", "0.5", "true", "a", [1]]


def test_other_names(labels, file: Path) -> None:
    file.write_text('{"request": "a", "truth": 1}')
    form = {"id_column": "request", "label_column": "truth"}
    assert labels(file, **form) == [{"id": "a", "y_true": 1}]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "row 2 (line 3) is no JSON object"),
        ("[]", "row 2 (line 3) is no JSON object: Expected 'object', got 'array'; write one"),
        ("[" * 100_000, "is no JSON object"),
        ('{"id": "a", "y_true": NaN}', "is no JSON object: JSON is malformed"),
        ('{"id": "a", "y_true": 1, "id": "b"}', "the key 'id' stands twice in one object"),
        ('{"y_true": 1}', "column 'id' is missing; write it, or name another with --id-column"),
        ('{"id": "a"}', "column 'y_true' is missing"),
        ('{"id": "", "y_true": 1}', "column 'id' is empty"),
        ('{"id": 1.5, "y_true": 1}', "column 'id' is a fraction; write the id of"),
        ('{"id": true, "y_true": 1}', "column 'id' is true or false"),
        ('{"id": "a", "y_true": null}', "column 'y_true' is empty"),
        ('{"id": "a", "y_true": {}}', "column 'y_true' is or holds an object"),
        ('{"id": "a", "y_true": [[1]]}', "column 'y_true' is or holds a list"),
        ('{"id": "a", "y_true": ["a"]}', "column 'y_true' is or holds text"),
        ('{"id": "a", "y_true": [1, null]}', "column 'y_true' is or holds null"),
        ('{"id": "a", "y_true": [1, true]}', "column 'y_true' is or holds true or false"),
        ('{"id": "a", "y_true": 1, "index": true}', "column 'index' is no whole number"),
        ('{"id": "a", "y_true": 1, "timestamp": 17}', "column 'timestamp' is a value of type int"),
        ('{"id": "a", "y_true": 1, "sensitive_features": "F"}', "features' is no object"),
        ('{"id": "a", "y_true": 1, "sensitive_features": {"x": 1.5}}', "features.x' is a fraction"),
        ('{"id": "a", "y_true": 1, "sensitive_features": {"x": []}}', "features.x' is a list"),
        ('{"id": "a", "y_true": 1, "sensitive_features.x": "F"}', "write an object"),
        (r'{"id": "\ud800", "y_true": 1}', "row 2 (line 3)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_with_its_place(
    wrong, file: Path, line: str, said: str
) -> None:
    file.write_text(f'{{"id": "a", "y_true": 1}}\n\n{line}\n')
    before, words = wrong(file)
    assert before == 1
    assert words.startswith("labels.jsonl, row 2 (line 3)")
    assert said in words
    assert len(words) < 300


def test_an_empty_file_is_wrong(wrong, file: Path) -> None:
    file.write_text(" \n")
    assert wrong(file) == (0, "labels.jsonl has no labels; write a row for each")
