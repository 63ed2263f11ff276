"""Forgetting a subject: its rows are gone from all files, and all others are still there."""

from __future__ import annotations

import os

import pyarrow.parquet as pq
import pytest

from serving.errors import VigilError
from serving.log import forget as module
from serving.log.forget import WriterRuns, forget
from serving.log.label_rows import LabelRows
from serving.log.open_streams import RollLimits
from serving.log.store import Store
from serving.log.subject import Subject
from serving.log.writer import LogLimits


@pytest.fixture
def filled(log, rows):
    """Files and dead streams of two models: requests of `subject-7` among others'."""
    small = LogLimits(roll=RollLimits(64 << 20, 4, 1e6))
    for model, names in (("m", ["a1", "subject-7", "a2"]), ("n", ["subject-7"])):
        for _ in range(3):
            writer = log.writer(limits=small)
            count = len(names)
            writer.offer(
                rows(
                    *[2] * count,
                    model=model,
                    sensitive={"ssn": [f"ssn-of-{name}" for name in names for _ in range(2)]},
                    requests={"client_ids": names, "principals": [f"user-{n}" for n in names]},
                )
            )
            writer.close()
    return log


def clients(log, model="m", dataset="predictions"):
    return sorted(log.table(model, dataset)["client_id"].to_pylist())


OTHERS = sorted(["a1", "a2"] * 6)


@pytest.mark.parametrize(
    "subject",
    [Subject("subject-7"), Subject("user-subject-7", "principal"),
     Subject("ssn-of-subject-7", "ssn")],
    ids=lambda each: each.by,
)  # fmt: skip
def test_the_rows_of_a_subject_are_gone_and_no_others(filled, subject):
    before = filled.reader().find("m", "a1")
    done = forget(filled.store, filled.spool, subject)
    assert done.rows == {"predictions": 12, "sensitive": 12}
    assert done.client_ids() == {model: {"subject-7"} for model in "mn"}
    for dataset in ("predictions", "sensitive"):
        assert clients(filled, "m", dataset) == OTHERS
        assert clients(filled, "n", dataset) == []
    reader = filled.reader()
    assert reader.find("m", "subject-7") == []
    assert reader.find("m", "a1") == before
    assert all(b"subject-7" not in path.read_bytes() for path in files(filled))
    assert done.searched == len(files(filled))
    private = [path for path in filled.parts() if "sensitive" in path.parts]
    assert private
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
    again = forget(filled.store, filled.spool, subject)
    assert (again.rows, again.rewritten, again.deleted) == ({}, [], [])


def files(log):
    return [path for path in log.folder.rglob("*") if path.is_file()]


def test_one_model_alone(filled):
    done = forget(filled.store, filled.spool, Subject("subject-7", model="n"))
    assert done.rows == {"predictions": 6, "sensitive": 6}
    assert clients(filled, "m").count("subject-7") == 6


def test_what_a_killed_writer_has_left_is_searched_too(filled, rows, wait):
    writer = filled.writer()
    writer.offer(rows(1, requests={"client_ids": ["subject-7"]}))
    wait(lambda: writer.counts().stored == 1)
    with pytest.raises(WriterRuns, match="stop it first"):
        forget(filled.store, filled.spool, Subject("subject-7"))
    assert clients(filled).count("subject-7") == 7
    os.close(writer._roller._own._lock)  # as the kernel does when it is killed
    writer._roller._own._lock = os.open(os.devnull, os.O_RDONLY)
    half = filled.folder / "predictions/model=m/.part-x.parquet.unfinished"
    half.write_bytes(b"subject-7")
    forget(filled.store, filled.spool, Subject("subject-7"))
    assert clients(filled) == OTHERS
    assert not half.exists()


class Failing(Store):
    """A store that fails at its n-th change."""

    def __init__(self, store, changes):
        super().__init__(store.filesystem, store._root, store.local)
        self.left = changes

    def _change(self):
        self.left -= 1
        if self.left < 0:
            raise OSError("killed")

    def write(self, path, write, *, private=False):
        self._change()
        super().write(path, write, private=private)

    def delete(self, path):
        self._change()
        super().delete(path)


@pytest.mark.parametrize("subject", [Subject("user-subject-7", "principal"),
                                     Subject("ssn-of-subject-7", "ssn")])  # fmt: skip
def test_whoever_is_interrupted_does_it_again(filled, subject):
    changes = 0
    while True:
        try:
            forget(Failing(filled.store, changes), filled.spool, subject)
            break
        except OSError:
            # What is seen meanwhile is whole, and no other's row is missing or there twice.
            assert [name for name in clients(filled) if name != "subject-7"] == OTHERS
            changes += 1 if changes < 4 else 5
    assert changes > 5
    for dataset in ("predictions", "sensitive"):
        assert clients(filled, "m", dataset) == OTHERS


def test_rows_that_are_still_there_are_told(filled, monkeypatch):
    monkeypatch.setattr(module, "_rewrite", lambda *_: None)
    with pytest.raises(VigilError, match=r"is still in \d+ files of the log: predictions/"):
        forget(filled.store, filled.spool, Subject("subject-7", model="m"))
    with pytest.raises(VigilError, match="'a1' is still in"):  # too short to be searched as bytes
        forget(filled.store, filled.spool, Subject("a1"))


def test_a_reader_that_has_seen_the_old_file_finds_what_is_left(log, rows):
    writer = log.writer()
    writer.offer(rows(*[1] * 40_000))
    writer.close()
    reader = log.reader()
    assert len(reader.find("m", "r39999")) == len(reader.find("m", "r7")) == 1
    forget(log.store, log.spool, Subject("r7"))
    assert reader.find("m", "r7") == []
    assert len(reader.find("m", "r39999")) == 1
    assert pq.read_metadata(log.parts()[0]).num_rows == 39_999


@pytest.mark.parametrize(
    "subject",
    [Subject("subject-7"), Subject("subject-7", model="m"),
     Subject("user-subject-7", "principal"), Subject("ssn-of-subject-7", "ssn")],
    ids=lambda each: f"{each.by}-{each.model}",
)  # fmt: skip
def test_labels_go_with_their_predictions(filled, subject):
    for model in ("m", "n"):
        writer = filled.writer()
        for index in (0, 1):
            names = ["a1", "subject-7", "a2"]
            times = [1_796_040_000.0] * 3
            writer.offer_labels(LabelRows(model, "1", names, [index] * 3, times, [1, 0, 1]))
        writer.close()
    done = forget(filled.store, filled.spool, subject)
    assert done.rows["labels"] == (2 if subject.model else 4)
    assert clients(filled, "m", "labels") == ["a1", "a1", "a2", "a2"]
    assert clients(filled, "n", "labels").count("subject-7") == (2 if subject.model else 0)
    assert filled.reader().find("m", "a1")[0]["label"] == 1
    assert "labels" not in forget(filled.store, filled.spool, subject).rows


def test_labels_of_other_rows_of_a_request_stay(log, rows):
    writer = log.writer()
    writer.offer(rows(2, sensitive={"ssn": ["one", "two"]}, requests={"client_ids": ["r"]}))
    writer.offer(rows(2, model="n", requests={"client_ids": ["r"]}))
    for model in ("m", "n"):
        times = [1_796_040_000.0] * 2
        writer.offer_labels(LabelRows(model, "1", ["r", "r"], [0, 1], times, [5, 6]))
    writer.close()
    forget(log.store, log.spool, Subject("one", "ssn"))
    assert [row["label"] for row in log.reader().find("m", "r")] == [6]
    assert [row["label"] for row in log.reader().find("n", "r")] == [5, 6]
