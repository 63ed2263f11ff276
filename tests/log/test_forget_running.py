"""Rows are taken out beside a writer: of before the cut, and of models that are dealt with here."""

from __future__ import annotations

import pytest

from serving.errors import VigilError
from serving.log import forget_running
from serving.log.forget_running import RunningForget
from serving.log.store import Store
from serving.log.subject import Subject
from serving.protocol import ids


@pytest.fixture
def filled(log, rows):
    """A writer that has rows of `subject-7` in streams, of two models."""
    log.running = log.writer()
    for model in "mn":
        log.running.offer(
            rows(
                1, 1,
                model=model,
                sensitive={"ssn": ["ssn-of-subject-7", "other"]},
                requests={"client_ids": ["subject-7", "other"]},
            )
        )  # fmt: skip
    return log


def forgetting(log, subject, mine=lambda _model: True, store=None):
    cut = log.running.cut(30)
    work = RunningForget(store or log.store, log.spool, subject, mine, cut, lambda *_: None)
    work.await_files(lambda: None)
    return work


def clients(log, model):
    return sorted(log.table(model)["client_id"].to_pylist())


def test_of_each_model_one_writer_deals_with_its_files(filled):
    notes = filled.folder / "notes.txt"
    notes.write_text("subject-7")
    work = forgetting(filled, Subject("subject-7"), lambda model: model == "m")
    assert work.find()
    work.take_out()
    work.prove()
    assert work.done.rows == {"predictions": 1, "sensitive": 1}
    assert (clients(filled, "m"), clients(filled, "n")) == (["other"], ["other", "subject-7"])
    work = forgetting(filled, Subject("subject-7"), lambda model: model != "m")
    work.find()
    work.take_out()
    assert clients(filled, "n") == ["other"]
    with pytest.raises(VigilError, match=r"still in 1 files of the log: notes\.txt"):
        work.prove()
    assert not forgetting(filled, Subject("x"), lambda model: model == "k").find()


def test_what_comes_after_the_cut_stays_and_is_no_fault(filled, rows, wait):
    work = forgetting(filled, Subject("ssn-of-subject-7", "ssn", "m"))
    stored = filled.running.counts().stored
    filled.running.offer(rows(1, sensitive={"ssn": ["ssn-of-subject-7"]}))
    wait(lambda: filled.running.counts().stored == stored + 1)
    filled.running.cut(30)
    wait(lambda: not list(filled.spool.rglob("*.arrows")))
    work.find()
    work.take_out()
    work.prove()
    assert work.done.rows == {"predictions": 1, "sensitive": 1}
    assert len(clients(filled, "m")) == 2
    assert filled.table("m", "sensitive")["ssn"].to_pylist().count("ssn-of-subject-7") == 1


@pytest.mark.parametrize("step_ms", [-3_600_000, 3_600_000])
def test_no_clock_says_what_came_before(filled, rows, wait, monkeypatch, step_ms):
    """It is set back, or forward, after the first rows, and set right again after the cut."""
    monkeypatch.setattr(ids.time, "time_ns", lambda: clock)
    clock = (1_796_040_000_000 - step_ms) * 1_000_000
    filled.running.offer(rows(1, requests={"client_ids": ["subject-7"]}))
    assert filled.running.flush(30)
    clock += step_ms * 1_000_000
    work = forgetting(filled, Subject("subject-7", model="m"))
    clock -= 2 * step_ms * 1_000_000
    filled.running.offer(rows(1, requests={"client_ids": ["subject-7"]}))
    assert filled.running.flush(30)
    assert work.find()
    filled.running.cut(30)
    wait(lambda: not list(filled.spool.rglob("*.arrows")))
    work.take_out()
    work.prove()
    assert work.done.rows == {"predictions": 2, "sensitive": 1}
    assert clients(filled, "m") == ["other", "subject-7"]


def test_what_was_half_written_before_is_deleted(filled):
    folder = filled.folder / "predictions/model=m"
    folder.mkdir(parents=True)
    names = [f"{number}1900000-0000-7000-8000-000000000000" for number in "0f"]
    work = forgetting(filled, Subject("subject-7"))
    names.append(filled.running._names.next())
    *old, new = (folder / f".part-{name}.parquet.unfinished" for name in names)
    for path in (*old, new):
        path.write_bytes(b"subject-7")
    work.find()
    work.take_out()
    work.prove()
    assert [path.exists() for path in (*old, new)] == [False, False, True]


def test_a_full_disk_leaves_a_file_and_its_index_as_they_were(filled):
    class Full(Store):
        def write(self, path, write, *, private=False):
            if path.endswith(".parquet"):
                raise OSError(28, "No space left on device")
            super().write(path, write, private=private)

    full = Full(filled.store.filesystem, str(filled.folder), filled.folder)
    work = forgetting(filled, Subject("subject-7"), store=full)
    files = {path: path.read_bytes() for path in filled.folder.rglob("part-*")}
    work.find()
    with pytest.raises(OSError, match="No space left"):
        work.take_out()
    assert {path: path.read_bytes() for path in filled.folder.rglob("part-*")} == files
    assert work.done.rows == {}


def test_a_store_that_takes_no_files_is_waited_for_and_told(filled, monkeypatch):
    with monkeypatch.context() as away:  # not until the writer is closed, which would wait for it
        away.setattr(filled.running._roller, "_roll_all", lambda: True)
        cut = filled.running.cut(30)
        progress = []
        work = RunningForget(
            filled.store, filled.spool, Subject("x"), lambda _: True, cut,
            lambda *told: progress.append(told),
        )  # fmt: skip
        away.setattr(forget_running, "STORE_AWAY_S", 0.0)
        with pytest.raises(VigilError, match="do it again later: it is read-only"):
            work.await_files(lambda: "it is read-only")
        away.setattr(forget_running, "STORE_SLOW_S", 0.0)
        with pytest.raises(VigilError, match="do it again later: its store is slow"):
            work.await_files(lambda: None)
        assert progress[0] == ("waiting for files", 0, 4)
