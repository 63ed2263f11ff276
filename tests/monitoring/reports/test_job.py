"""What one process hands to the other in files."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from serving.monitoring.reports.job import ReportJob, plain, read_job, write_job


class Loud:
    """Would show that it was unpickled."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)

    def __str__(self):
        return "loud"


def job(*columns):
    return ReportJob("loans version 1", "{}", "/r.parquet", columns, "html")


def test_a_job_comes_back_with_its_columns_in_order(tmp_path):
    current = {"b": np.arange(3), "a": np.array([b"x", b"y"], dtype=object), "spare": np.ones(1)}
    write_job(tmp_path, job("a", "b"), current)
    back, columns = read_job(tmp_path)
    assert back == job("a", "b")
    assert list(columns) == ["a", "b"]
    assert columns["a"].tolist() == ["x", "y"]
    assert columns["b"].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("name", ["", "file", "../x", "a/b", "a\0", "0", "1", "é"])
def test_a_column_may_be_called_anything(tmp_path, name):
    write_job(tmp_path, job("first", name), {"first": np.zeros(2), name: np.ones(2)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current.npz", "job.json"]
    back, columns = read_job(tmp_path)
    assert back.columns == ("first", name)
    assert columns[name].tolist() == [1.0, 1.0]


def test_no_columns_are_a_job_too(tmp_path):
    write_job(tmp_path, job(), {})
    assert read_job(tmp_path) == (job(), {})


def test_nothing_is_pickled(tmp_path):
    write_job(tmp_path, job("x"), {"x": np.array([Loud(), b"a"], dtype=object)})
    assert read_job(tmp_path)[1]["x"].tolist() == ["loud", "a"]


def test_nothing_that_was_pickled_is_read(tmp_path):
    write_job(tmp_path, job("x"), {"x": np.zeros(1)})
    np.savez(tmp_path / "current.npz", **{"0": np.array([{}], dtype=object)})
    with pytest.raises(ValueError, match="allow_pickle"):
        read_job(tmp_path)


def test_a_column_that_is_missing_is_no_job(tmp_path):
    with pytest.raises(KeyError):
        write_job(tmp_path, job("x"), {"y": np.zeros(1)})
    assert not (tmp_path / "job.json").exists()


def test_a_job_of_other_types_is_refused(tmp_path):
    write_job(tmp_path, job("x"), {"x": np.zeros(1)})
    file = tmp_path / "job.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "columns": "x"}))
    with pytest.raises(msgspec.ValidationError, match="columns"):
        read_job(tmp_path)


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (np.array([True, False]), [1.0, 0.0]),
        (np.array([1, -(2**63)], np.int64), [1.0, -(2.0**63)]),
        (np.array([1.5, np.inf], np.float32), [1.5, np.inf]),
        (np.array([], np.float16), []),
    ],
)
def test_numbers_become_float64(values, numbers):
    made = plain(values)
    assert made.dtype == np.float64
    assert made.tolist() == numbers


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([b"car", "car", None, 3], ["car", "car", "None", "3"]),
        (["é".encode(), b"\xff"], ["é", "\N{REPLACEMENT CHARACTER}"]),
        (["</script>", ""], ["</script>", ""]),
        ([], []),
    ],
)
def test_everything_else_becomes_text(values, words):
    made = plain(np.array(values, dtype=object))
    assert made.dtype.kind == "U"
    assert made.tolist() == words
