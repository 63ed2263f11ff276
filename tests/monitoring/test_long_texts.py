"""Long texts of a saved state."""

import json
import os

import pytest

from serving.monitoring.long_texts import LONG, REFERENCE, LongTexts


def text(letter, more=0):
    return letter * (LONG + more)


def saved(texts, state):
    """Save a state; returns what stands in the checkpoint."""
    short, long = texts.shorten(state)
    texts.write(long)
    texts.keep(long)
    return json.loads(json.dumps(short))


def test_long_texts_come_back_from_files_of_their_own(tmp_path):
    state = {
        "a": {"b": text("x"), "list": [text("y"), text("z"), "tail"], "short": "s"},
        "numbers": [1, 2],
        "words": ["some", "words"],
        "none": None,
    }
    before = json.dumps(state)
    short = saved(LongTexts(tmp_path, "monitor"), state)
    assert json.dumps(state) == before
    assert len(json.dumps(short)) < 1000
    assert len(list(tmp_path.iterdir())) == 3
    assert LongTexts(tmp_path, "monitor").lengthen(short) == state


def test_a_state_without_any_is_left_as_it_is(tmp_path):
    state = {"a": {"b": "short"}, "empty": []}
    short, long = LongTexts(tmp_path, "monitor").shorten(state)
    assert short is state
    assert long == {}
    assert LongTexts(tmp_path, "monitor").lengthen(state) is state


def test_what_stays_the_same_is_written_once(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    texts = LongTexts(tmp_path, "monitor")
    same = text("x")
    for step in range(5):
        saved(texts, {"same": same, "step": step})
    assert len(synced) == 2  # the file and the folder
    again = LongTexts(tmp_path, "monitor")
    whole = again.lengthen(saved(texts, {"same": same}))
    saved(again, whole)
    assert len(synced) == 2


def test_what_changed_is_deleted_once_nothing_refers_to_it(tmp_path):
    texts = LongTexts(tmp_path, "monitor")
    other = tmp_path / f"monitor-2.{'0' * 64}.text"
    other.write_text("another monitor's")
    saved(texts, {"a": text("x")})
    short, long = texts.shorten({"a": text("y")})
    texts.write(long)
    assert len(texts.paths()) == 2  # the checkpoint in force still needs the first one
    texts.keep(long)
    assert [path.read_text() for path in texts.paths()] == [text("y")]
    left = tmp_path / f"monitor.{'f' * 64}.text"
    left.write_text("of a save that was not finished")
    assert LongTexts(tmp_path, "monitor").lengthen(short) == {"a": text("y")}
    assert not left.exists()
    assert other.exists()


@pytest.mark.parametrize("damage", [None, b"", b"junk", b"\xff"])
def test_a_file_that_is_missing_or_damaged_leaves_its_reference_alone(tmp_path, damage):
    short = saved(LongTexts(tmp_path, "monitor"), {"a": text("x"), "b": text("y")})
    path = next(p for p in tmp_path.iterdir() if p.read_text().startswith("x"))
    path.unlink() if damage is None else path.write_bytes(damage)
    whole = LongTexts(tmp_path, "monitor").lengthen(short)
    assert whole["a"].keys() == {REFERENCE}
    assert whole["b"] == text("y")


def test_files_are_the_owners_alone(tmp_path):
    folder = tmp_path / "data"
    saved(LongTexts(folder, "monitor"), {"a": text("x")})
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]
