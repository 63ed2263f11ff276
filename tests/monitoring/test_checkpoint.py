import json
from pathlib import Path
from typing import Any

import pytest

from serving.monitoring.checkpoint import Checkpoint
from serving.monitoring.long_texts import LONG
from serving.monitoring.state_file import FORMAT


class Entries:
    """Entries of two owners that change, and what of them has changed."""

    def __init__(self) -> None:
        self.now: dict[str, dict[int, list[Any]]] = {"a/1": {}, "b/1": {}}
        self._changes: list[tuple[str, list[list[Any]] | None]] = []

    def put(self, owner: str, number: int, value: object) -> None:
        self.now[owner][number] = [number, value]
        self._changes.append((owner, [[number, value]]))

    def take(self, owner: str, number: int) -> None:
        del self.now[owner][number]
        self._changes.append((owner, [[number]]))

    def changes(self):
        changes, self._changes = self._changes, []
        return changes

    def everything(self):
        for owner, entries in self.now.items():
            for number in list(entries):
                if number in entries:
                    yield owner, entries[number]

    def saved(self) -> dict[str, list[list[Any]]]:
        return {owner: [kept[n] for n in sorted(kept)] for owner, kept in self.now.items() if kept}


@pytest.fixture
def entries() -> Entries:
    return Entries()


def make(folder: Path, entries: Entries, **sizes: int) -> Checkpoint:
    return Checkpoint(folder, "monitor", entries.everything, **sizes)


def save(checkpoint: Checkpoint, entries: Entries, state: dict[str, Any]) -> None:
    checkpoint.prepare(state, entries.changes())()
    while not checkpoint.in_force:
        checkpoint.prepare(state, entries.changes())()


def loaded(folder: Path) -> Any:
    checkpoint = make(folder, Entries())
    found = checkpoint.load()
    checkpoint.close()
    if found is None:
        return None
    state, kept = found
    return state, {owner: list(values) for owner, values in kept.items() if values}


def test_what_was_saved_last_comes_back(tmp_path: Path, entries: Entries):
    checkpoint = make(tmp_path / "data", entries)
    assert checkpoint.load() is None
    for step in range(20):
        entries.put("a/1", step, f"v{step}")
        entries.put("b/1", step % 3, step)
        if step > 5:
            entries.take("a/1", step - 5)
        save(checkpoint, entries, {"step": step})
        assert loaded(tmp_path / "data") == ({"step": step}, entries.saved())
    checkpoint.close()


def test_a_save_writes_what_changed_and_not_what_is_held(tmp_path: Path, entries: Entries):
    for number in range(5000):
        entries.put("a/1", number, "x" * 20)
    checkpoint = make(tmp_path, entries)
    save(checkpoint, entries, {})
    (journal,) = tmp_path.glob("*.journal")
    before = journal.stat().st_size
    entries.put("a/1", 7, "y")
    save(checkpoint, entries, {})
    assert 0 < journal.stat().st_size - before < 100
    checkpoint.close()


def test_a_long_journal_is_replaced_in_slices_while_entries_change(
    tmp_path: Path, entries: Entries
):
    checkpoint = make(tmp_path, entries, slice_values=10, small_bytes=2000)
    names = set()
    for step in range(300):
        entries.put("a/1", step % 40, step)
        entries.put("b/1", step, "z")
        if step >= 30:
            entries.take("b/1", step - 30)
        save(checkpoint, entries, {"step": step})
        names |= {path.name for path in tmp_path.glob("*.journal")}
        assert loaded(tmp_path) == ({"step": step}, entries.saved())
        # What `loaded` deleted was being written; it is another process that would do so.
        checkpoint.close()
        checkpoint = make(tmp_path, entries, slice_values=10, small_bytes=2000)
        checkpoint.load()
    assert len(names) >= 1
    checkpoint.close()


def test_the_folder_does_not_grow_for_ever(tmp_path: Path, entries: Entries):
    checkpoint = make(tmp_path, entries, slice_values=10, small_bytes=2000)
    for step in range(1000):
        entries.put("a/1", step % 40, step)
        save(checkpoint, entries, {"step": step})
    assert loaded(tmp_path) == ({"step": 999}, entries.saved())
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 10_000
    assert len(list(tmp_path.iterdir())) <= 3
    checkpoint.close()


def test_killed_between_two_writes_the_earlier_save_counts(tmp_path: Path, entries: Entries):
    checkpoint = make(tmp_path, entries)
    entries.put("a/1", 1, "first")
    save(checkpoint, entries, {"step": 1})
    before, saved = (tmp_path / "monitor.json").read_bytes(), entries.saved()
    entries.put("a/1", 1, "second")
    save(checkpoint, entries, {"step": 2})
    (tmp_path / "monitor.json").write_bytes(before)  # the journal was written, this was not
    assert loaded(tmp_path) == ({"step": 1}, saved)
    checkpoint.close()


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\xff", json.dumps({"format": FORMAT + 1}).encode()]
)
def test_what_cannot_be_read_is_set_aside_with_its_journal(
    tmp_path: Path, entries: Entries, damage: bytes
):
    checkpoint = make(tmp_path, entries)
    entries.put("a/1", 1, "first")
    save(checkpoint, entries, {"step": 1})
    checkpoint.close()
    (journal,) = tmp_path.glob("*.journal")
    content = journal.read_bytes()
    (tmp_path / "monitor.json").write_bytes(damage)
    other = make(tmp_path, Entries())
    assert other.load() is None
    save(other, Entries(), {"step": 7})
    other.close()
    assert sorted(path.read_bytes() for path in tmp_path.glob("*.unreadable")) == sorted(
        [damage, content]
    )
    assert loaded(tmp_path) == ({"step": 7}, {})


def test_a_damaged_journal_costs_predictions_and_no_counts(tmp_path: Path, entries: Entries):
    checkpoint = make(tmp_path, entries)
    entries.put("a/1", 1, "first")
    save(checkpoint, entries, {"step": 1})
    checkpoint.close()
    (journal,) = tmp_path.glob("*.journal")
    journal.write_bytes(b"junk")
    assert loaded(tmp_path) == ({"step": 1}, {})
    assert [path.read_bytes() for path in tmp_path.glob("*.unreadable")] == [b"junk"]


def test_after_a_failed_write_the_next_one_saves_everything(
    tmp_path: Path, entries: Entries, monkeypatch
):
    checkpoint = make(tmp_path, entries)
    entries.put("a/1", 1, "first")
    save(checkpoint, entries, {"step": 1})
    entries.put("a/1", 2, "second")
    with monkeypatch.context() as patched:
        patched.setattr("serving.monitoring.checkpoint.write_state", _full)
        with pytest.raises(OSError, match="full"):
            checkpoint.prepare({"step": 2}, entries.changes())()
    save(checkpoint, entries, {"step": 3})
    assert loaded(tmp_path) == ({"step": 3}, entries.saved())
    checkpoint.close()


def _full(*_: object) -> None:
    raise OSError("the disk is full")


def test_long_texts_of_the_state_are_beside_it(tmp_path: Path, entries: Entries):
    checkpoint = make(tmp_path, entries)
    long = "x" * LONG
    for step in range(3):
        save(checkpoint, entries, {"step": step, "long": long})
    assert (tmp_path / "monitor.json").stat().st_size < 1000
    assert loaded(tmp_path) == ({"step": 2, "long": long}, {})
    save(checkpoint, entries, {"step": 3, "long": "y" * LONG})
    assert len(list(tmp_path.glob("*.text"))) == 1
    assert loaded(tmp_path) == ({"step": 3, "long": "y" * LONG}, {})
    checkpoint.close()


def test_long_texts_are_set_aside_with_the_state(tmp_path: Path, entries: Entries):
    checkpoint = make(tmp_path, entries)
    save(checkpoint, entries, {"long": "x" * LONG})
    checkpoint.set_aside("why not")
    assert not list(tmp_path.glob("*.text"))
    kept = [path.read_bytes() for path in tmp_path.glob("*.text.*.unreadable")]
    assert kept == [b"x" * LONG]
    save(checkpoint, entries, {"long": "x" * LONG})
    assert loaded(tmp_path) == ({"long": "x" * LONG}, {})
    checkpoint.close()


def test_killed_before_the_state_was_written_the_earlier_texts_count(
    tmp_path: Path, entries: Entries, monkeypatch
):
    checkpoint = make(tmp_path, entries)
    save(checkpoint, entries, {"long": "x" * LONG})
    with monkeypatch.context() as patched:
        patched.setattr("serving.monitoring.checkpoint.write_state", _full)
        with pytest.raises(OSError, match="full"):
            checkpoint.prepare({"long": "y" * LONG}, entries.changes())()
    assert loaded(tmp_path) == ({"long": "x" * LONG}, {})
    checkpoint.close()
