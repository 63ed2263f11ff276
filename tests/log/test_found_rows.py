"""Logged rows as people get them: what is shown, what is left out, and what is said of it."""

from __future__ import annotations

from uuid import UUID

import msgspec
import numpy as np
import pytest

from serving.log import found_rows as module
from serving.log.found_rows import found_rows
from serving.log.rows import ModelLog


def shown(log, identity: str, index: int | None = None):
    return found_rows("m", identity, log.reader().find_tables("m", identity, index))


def test_a_row_is_shown_with_what_is_known_of_it(log, rows):
    writer = log.writer(models={"m": ModelLog(features={"x": ["age", "debt"]})})
    given = rows(
        2,
        inputs={"x": np.array([[1, 2], [3, np.nan]], np.float32)},
        scores={"range": np.array([0.25, 0.5])},
        revision="abc",
        requests={"decisions": [["range:flag"]], "arms": ["b"], "total_s": [0.5]},
    )
    writer.offer(given)
    writer.close()
    found = shown(log, "r0")
    assert [row.index for row in found.rows] == [0, 1]
    row = found.rows[1]
    assert (row.client_id, row.model, row.version, row.revision) == ("r0", "m", "1", "abc")
    assert (row.decisions, row.scores, row.arm) == (["range:flag"], {"range": 0.5}, "b")
    assert row.outputs == {"y": [0.5, 0.5]}
    assert (row.latency.total_s, row.latency.queue_s, row.label) == (0.5, None, None)
    assert found.notes == []
    told = msgspec.json.decode(msgspec.json.encode(found))["rows"][1]
    assert told["time"] == "2026-11-30T12:00:00Z"
    assert told["inputs"] == {"age": 3.0, "debt": None}
    again = shown(log, str(UUID(told["id"])), 0)
    assert [each.index for each in again.rows] == [0]


def test_single_precision_is_written_as_in_answers(log, rows):
    writer = log.writer()
    values = np.array([[[0.1, np.inf], [-1e-9, np.nan]]], np.float32)
    writer.offer(rows(1, inputs={"x": np.array([0.1], np.float32), "z": values}))
    writer.close()
    inputs = msgspec.json.encode(shown(log, "r0").rows[0].inputs)
    assert inputs == b'{"x":0.1,"z":[[0.1,null],[-1e-9,null]]}'


def test_values_that_are_too_large_are_left_out_and_named(log, rows):
    writer = log.writer()
    image = np.zeros((1, 3, 100, 100), np.float32)
    writer.offer(rows(1, inputs={"image": image, "x": np.ones(1, np.float32)}))
    writer.close()
    found = shown(log, "r0")
    assert found.rows[0].inputs == {"image": None, "x": 1.0}
    [note] = found.notes
    assert "in_image" in note


@pytest.mark.parametrize(("most_rows", "most_bytes", "left"), [(2, 1 << 20, 2), (99, 1, 1)])
def test_many_rows_are_cut_with_a_note(log, rows, monkeypatch, most_rows, most_bytes, left):
    monkeypatch.setattr(module, "MOST_ROWS", most_rows)
    monkeypatch.setattr(module, "MOST_BYTES", most_bytes)
    writer = log.writer()
    writer.offer(rows(5))
    writer.close()
    found = shown(log, "r0")
    assert [row.index for row in found.rows] == list(range(left))
    assert found.notes[0].startswith(f"{left} of 5 rows are shown")
    assert [row.index for row in shown(log, "r0", 4).rows] == [4]


def test_what_was_not_captured_is_told(log, rows):
    writer = log.writer(models={"m": ModelLog("none")})
    writer.offer(rows(1))
    writer.close()
    found = shown(log, "r0")
    assert (found.rows[0].inputs, found.rows[0].outputs) == ({}, {})
    assert "not captured" in found.notes[0]
