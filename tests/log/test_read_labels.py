"""Labels as a dataset of the log: written, rolled, found with their predictions, deleted."""

from __future__ import annotations

import math
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from serving.errors import InvalidInput
from serving.log.export import export
from serving.log.label_rows import LabelRows, micros
from serving.log.retention import Retention, retain
from serving.log.stored import stored_labels

PAGE = Path(__file__).parents[2] / "docs" / "prediction-log.md"
BLOCKS = re.compile(r"^```py\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
KINDS = {
    "class": (np.int64, [1, 0, 2], [1, 1, 2]),
    "number": (np.float64, [1.5, -2.0, 0.0], [1.5, 7.25, 0.0]),
    "list": (np.float64, [[1.0, 2.0]] * 3, [[1.0, 2.0], [1.0, 2.5], [1.0, 2.0]]),
}


def labels(
    values: Any, *idents: str, at: float = 60, index: int = 0, version: str = "1", model: str = "m"
) -> LabelRows:
    """Return labels that came so many seconds after noon."""
    times = [NOON.timestamp() + at] * len(idents)
    return LabelRows(model, version, list(idents), [index] * len(idents), times, list(values))


@pytest.fixture
def predicted(rows):
    """Make three requests r<n> of one row whose answers are given."""

    def make(dtype: Any = np.int64, answers: Any = (1, 0, 2), **given: Any) -> Any:
        answers = np.array(answers, dtype)
        given.setdefault("requests", {"client_ids": ["a", "b", "c"]})
        return rows(1, 1, 1, outputs={"y": answers}, predicted=lambda out: out["y"], **given)

    return make


def told(log: Any, where: str = "label IS NOT NULL") -> dict[str, Any]:
    table = log.reader().scan("m", where, columns=["client_id", "label"]).read_all()
    pairs = zip(table["client_id"].to_pylist(), table["label"].to_pylist(), strict=True)
    return dict(pairs)


@pytest.mark.parametrize("rolled", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_label_is_compared_with_what_was_predicted(
    log, predicted, wait, kind, rolled
):
    dtype, answers, truths = KINDS[kind]
    writer = log.writer()
    writer.offer(predicted(dtype, answers))
    writer.offer_labels(labels(truths, "a", "b", "c"))
    wait(lambda: writer.counts().labels == 3)
    if rolled:
        writer.close()
        assert len(log.parts()) == 2
    assert told(log) == dict(zip("abc", truths, strict=True))
    assert told(log, "label != predicted") == {"b": truths[1]}
    assert told(log, 'LABEL = "Predicted"').keys() == {"a", "c"}
    [row] = log.reader().find("m", "b")
    assert (row["label"], row["label_time"]) == (truths[1], NOON + timedelta(seconds=60))
    assert writer.counts().offered == writer.counts().stored == 3


def test_the_last_of_several_labels_is_true_wherever_they_are(log, predicted, wait):
    first = log.writer()
    first.offer(predicted())
    first.offer_labels(labels([0, 0, 0], "a", "b", "c", at=3))
    first.close()
    second = log.writer()
    second.offer_labels(labels([1, 1], "a", "b", at=5))
    second.offer_labels(labels([2], "b", at=4))  # a clock that was set back
    second.close()
    third = log.writer()
    third.offer_labels(labels([2], "a", at=7))
    wait(lambda: third.counts().labels == 1)
    assert told(log) == {"a": 2, "b": 1, "c": 0}
    assert {ident: log.reader().find("m", ident)[0]["label"] for ident in "abc"} == told(log)


def test_labels_are_of_a_row_and_of_the_version_that_answered(log, rows, wait):
    writer = log.writer()
    writer.offer(rows(3, requests={"client_ids": ["a"]}))
    writer.offer(rows(3, version="2", requests={"client_ids": ["a"]}))
    writer.offer_labels(labels([1.0], "a", index=1))
    writer.offer_labels(labels([2.0], "a", index=2, version="2"))
    writer.offer_labels(labels([9.0], "a", index=1, model="other"))
    wait(lambda: writer.counts().labels == 3)
    table = log.reader().scan("m", "label > 0").read_all()
    found = zip(*(table[name].to_pylist() for name in ("version", "index", "label")), strict=True)
    assert sorted(found) == [("1", 1, 1.0), ("2", 2, 2.0)]
    rows_of = log.reader().find("m", "a")
    assert sorted((row["version"], row["index"], row["label"] or 0) for row in rows_of) == [
        ("1", 0, 0), ("1", 1, 1.0), ("1", 2, 0), ("2", 0, 0), ("2", 1, 0), ("2", 2, 2.0),
    ]  # fmt: skip


@pytest.mark.parametrize("rolled", [False, True])
def test_the_newest_rows_have_their_labels(log, predicted, wait, rolled):
    writer = log.writer()
    for minute in range(5):
        idents = [f"{name}{minute}" for name in "abc"]
        time = NOON.timestamp() + 60 * minute
        writer.offer(predicted(time=time, requests={"client_ids": idents}))
        writer.offer_labels(labels([minute] * 3, *idents, at=1000))
    wait(lambda: writer.counts().labels == 15)
    if rolled:
        writer.close()
    reader = log.reader()
    newest = reader.scan("m", limit=6, newest=True).read_all()
    assert newest["label"].to_pylist() == [4, 4, 4, 3, 3, 3]
    assert newest.column_names[-2:] == ["label", "label_time"]
    some = reader.scan("m", "in_x < 1", columns=["label", "out_y"], limit=2, newest=True).read_all()
    assert some.to_pylist() == [{"label": 4, "out_y": 1}, {"label": 3, "out_y": 1}]
    some = reader.scan("m", "label < 3", columns=["client_id"], limit=1, newest=True).read_all()
    assert some.to_pylist() == [{"client_id": "a2"}]
    last = NOON + timedelta(minutes=4)
    assert reader.scan("m", since=last).read_all()["label"].to_pylist() == [4, 4, 4]


def test_a_log_without_labels_is_read_as_before(log, predicted, wait):
    writer = log.writer()
    writer.offer(predicted())
    wait(lambda: writer.counts().stored == 3)
    reader = log.reader()
    assert "label" not in reader.scan("m").read_all().column_names
    assert reader.scan("m", "label != predicted").read_all().num_rows == 0
    assert reader.scan("m", "label IS NULL").read_all().num_rows == 3
    assert reader.scan("m", columns=["label", "client_id"]).read_all()["label"].null_count == 3
    assert reader.find("m", "a")[0]["label"] is None
    with pytest.raises(InvalidInput, match="columns: the log has no 'labelled'"):
        reader.scan("m", columns=["labelled"])


def test_labels_of_another_kind_than_before_leave_the_older_ones_out(log, predicted):
    for values in ([1], [[1.0, 0.0]]):
        writer = log.writer()
        writer.offer(predicted())
        writer.offer_labels(labels(values, "a"))
        writer.close()
    assert told(log) == {"a": [1.0, 0.0]}
    assert log.reader().find("m", "a")[0]["label"] in (1, [1.0, 0.0])


def test_rows_with_labels_are_exported(log, predicted, tmp_path, wait):
    writer = log.writer()
    writer.offer(predicted())
    writer.offer_labels(labels([0], "b"))
    wait(lambda: writer.counts().labels == 1)
    for suffix in ("csv", "parquet", "jsonl"):
        columns = ["client_id", "label", "label_time"]
        rows = log.reader().scan("m", "label IS NOT NULL", columns=columns)
        assert export(rows, tmp_path / f"rows.{suffix}") == 1
    assert pq.read_table(tmp_path / "rows.parquet")["label"].to_pylist() == [0]
    assert '"b",0,"2026-11-30T12:01:00.000000Z"' in (tmp_path / "rows.csv").read_text()


def test_labels_without_an_index_are_found_all_the_same(log, predicted):
    writer = log.writer()
    writer.offer(predicted())
    writer.offer_labels(labels([0, 1], "b", "a"))
    writer.close()
    [index] = (log.folder / "index/labels").rglob("*.ids")
    for content in (None, b"\0" * 9):
        index.unlink(missing_ok=True)
        if content is not None:
            index.write_bytes(content)
        assert log.reader().find("m", "a")[0]["label"] == 1


def test_the_page_joins_labels_and_predictions_with_duckdb(
    log, predicted, wait, monkeypatch, tmp_path, capsys
):
    writer = log.writer()
    writer.offer(predicted(model="loans"))
    writer.offer_labels(labels([1, 1], "a", "b", model="loans", at=5))
    writer.offer_labels(labels([0], "a", model="loans", at=6))
    writer.close()
    writer = log.writer()
    writer.offer_labels(labels([0], "b", model="loans", at=7))
    writer.close()
    (tmp_path / ".vigil").mkdir()
    (tmp_path / ".vigil/log").symlink_to(log.folder)
    monkeypatch.chdir(tmp_path)
    [block] = [each for each in BLOCKS.findall(PAGE.read_text()) if "labels" in each]
    exec(block, {})
    printed = capsys.readouterr().out.split()
    assert printed[-5:-1:2] == ["2", "0.5"], printed


def test_labels_go_with_the_retention_of_predictions(log, predicted):
    writer = log.writer()
    writer.offer(predicted())
    writer.offer_labels(labels([0], "b", at=0))
    writer.offer_labels(labels([1], "c", at=86400))
    writer.close()
    days = Retention(1, 1e5, 1e15)
    assert retain(log.store, days, NOON + timedelta(days=1, hours=11)) == 0
    assert retain(log.store, days, NOON + timedelta(days=1, hours=13)) == 2
    assert [part.parts[-2] for part in log.parts()] == ["date=2026-12-01"]
    assert len(list((log.folder / "index").rglob("part-*"))) == 1
    assert log.table().num_rows == 0  # nobody predicted them, as far as the log knows


def test_what_a_killed_writer_has_left_is_known_and_becomes_a_file(log, predicted, wait):
    writer = log.writer()
    writer.offer(predicted())
    writer.offer_labels(labels([0, 1], "b", "a"))
    wait(lambda: writer.counts().labels == 2)
    os.close(writer._roller._own._lock)  # as the kernel does when it is killed
    writer._roller._own._lock = os.open(os.devnull, os.O_RDONLY)
    wanted = [(name, 0, micros(NOON.timestamp() + 60)) for name in "abc"]

    def stored() -> set[Any]:
        return stored_labels(log.store, log.spool, {"m"}, wanted, -math.inf)

    assert stored() == set(wanted[:2])
    second = log.writer()
    wait(lambda: second.counts().parts == 2)
    assert second.counts().recovered == 5
    assert stored() == set(wanted[:2])
    assert told(log) == {"a": 1, "b": 0}


def test_labels_that_cannot_be_written_are_counted_and_cost_nothing_else(
    log, predicted, wait, small
):
    writer = log.writer(limits=small(queue_bytes=10_000))
    writer.offer_labels(labels([0, "x"], "b", "a"))  # no column holds both
    writer.offer_labels(labels([1], "c"))
    wait(lambda: writer.counts().labels + writer.counts().labels_dropped == 3)
    assert (writer.counts().labels, writer.counts().labels_dropped) == (1, 2)
    assert not writer.offer_labels(labels([1] * 1000, *map(str, range(1000))))
    writer.offer(predicted())
    wait(lambda: writer.counts().stored == 3)
    writer.close()
    assert not writer.offer_labels(labels([1], "b"))
    counts = writer.counts()
    assert (counts.labels, counts.labels_dropped, counts.dropped.total()) == (1, 1003, 0)
    assert told(log) == {"c": 1}
