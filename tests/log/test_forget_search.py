"""What is left of a subject is told, and what others have of its name is no fault."""

from __future__ import annotations

import pytest

from serving.errors import VigilError
from serving.log.forget import forget
from serving.log.subject import Subject


@pytest.fixture
def logged(log, rows):
    """A log with a request of `subject-7`."""
    writer = log.writer()
    writer.offer(rows(1, requests={"client_ids": ["subject-7"]}))
    writer.close()
    return log


def test_other_files_that_hold_it_are_told(logged):
    (logged.folder / "notes.txt").write_text("x" * 5000 + "subject-7")
    with pytest.raises(VigilError, match=r"still in 1 files of the log: notes\.txt"):
        forget(logged.store, logged.spool, Subject("subject-7"))


def test_a_subject_too_short_is_not_looked_for_in_other_files(logged):
    (logged.folder / "notes.txt").write_text("short")
    assert forget(logged.store, logged.spool, Subject("short")).searched > 0


def test_subjects_whose_names_begin_alike_are_others(log, rows):
    names = ["subject-7", "subject-77", "subject-7/a"]
    writer = log.writer()
    writer.offer(rows(1, 1, 1, requests={"client_ids": names}))
    writer.close()
    done = forget(log.store, log.spool, Subject("subject-7"))
    assert done.rows == {"predictions": 1}
    assert (
        sorted(log.table()["client_id"].to_pylist())
        == names[:0:-1]
        == ["subject-7/a", "subject-77"]
    )
    assert any(b"subject-7" in path.read_bytes() for path in log.parts())


@pytest.mark.parametrize(
    "told",
    [
        {"arms": ["subject-7", None]},
        {"decisions": [["of-subject-7:flag"], []]},
        {"principals": ["subject-7", "x"]},
    ],
    ids=str,
)
def test_other_columns_that_have_it_are_told(log, rows, told):
    requests = {"client_ids": ["subject-77", "b"], "propensities": [0.5, None]}
    writer = log.writer()
    writer.offer(rows(1, 1, requests=requests | told))
    writer.close()
    with pytest.raises(VigilError, match="is still in 1 files of the log: predictions/"):
        forget(log.store, log.spool, Subject("subject-7"))
