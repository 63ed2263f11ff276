"""What is searched for requests that were forgotten, and what does not count as one."""

import pytest

from serving.channel import frames
from serving.channel.messages.observation import LABELS, Label, LabelsMeta
from serving.errors import VigilError
from serving.log.subject import Subject
from serving.monitoring.forget_proof import require_absent, require_forgotten
from serving.monitoring.forgetting import forget_requests, requests_of
from serving.monitoring.journal import to_line
from serving.monitoring.wal_segments import MAGIC, Record, head

GONE = requests_of(Subject("subject-7"), {})
OF_M = requests_of(Subject("subject-7", model="m"), {})


def journal(folder, *owners, name="monitor.1", ident="subject-7"):
    lines = [to_line([(owner, [[5, ident, 0, 1, 2.5, [], None]])]) for owner in owners]
    path = folder / f"{name}.journal"
    path.write_bytes(b"".join(lines))
    return path


def segment(folder, *models, name="monitor.7"):
    path = folder / f"{name}.wal"
    told = [LabelsMeta(model, [Label("subject-7", 0, "yes")]) for model in models]
    framed = [Record(1.0, b"".join(frames.encode(LABELS, 1, each))[4:]) for each in told]
    path.write_bytes(MAGIC + b"".join(head(each) + each.frame for each in framed))
    return path


def absent(folder, gone=GONE, **more):
    return require_absent(folder, gone, but=folder / "log", **more)


def test_files_that_still_hold_it_are_told(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "x").write_bytes(b"subject-7")
    assert absent(tmp_path) == 0
    held = journal(tmp_path, "m/1")
    with pytest.raises(VigilError, match=r"monitor\.1\.journal still holds it: start the instance"):
        absent(tmp_path)
    assert absent(tmp_path, monitors=["monitor"]) == 0
    held.unlink()
    other = tmp_path / "monitor.json.1.unreadable"
    other.write_bytes(b"... subject-7 ...")
    with pytest.raises(VigilError, match="still holds it: a file that was set aside, or"):
        absent(tmp_path, monitors=["monitor"])
    assert absent(tmp_path, GONE._replace(text=b"")) == 0
    other.unlink()
    assert forget_requests(tmp_path, GONE) == 0
    (tmp_path / "monitor.json").write_text("{}")
    assert absent(tmp_path) == 1


@pytest.mark.parametrize("name", [f"monitor.{'0a' * 32}.text", "monitor.text.new"])
def test_long_texts_are_a_monitors_own(tmp_path, name):
    (tmp_path / name).write_bytes(b"... subject-7 ...")
    with pytest.raises(VigilError, match="still holds it: start the instance"):
        absent(tmp_path)
    assert absent(tmp_path, monitors=["monitor"]) == 0
    with pytest.raises(VigilError, match="still holds it: do it again"):
        require_forgotten(tmp_path, "monitor", 0, GONE, {})


def test_the_database_of_incidents_is_not_searched(tmp_path):
    aside = "vigil.db.20261130T120000Z.unreadable"
    for name in ("vigil.db", "vigil.db-wal", "vigil.db-shm", aside):
        (tmp_path / name).write_bytes(b"... subject-7 ...")
    assert absent(tmp_path) == 0
    (tmp_path / "sub").mkdir()
    for other in (tmp_path / "sub" / "vigil.db", tmp_path / "vigil.db2"):
        other.write_bytes(b"... subject-7 ...")
        with pytest.raises(VigilError, match="still holds it"):
            absent(tmp_path)
        other.unlink()


@pytest.mark.parametrize("made", [journal, segment])
def test_the_same_id_of_another_model_is_none(tmp_path, made):
    made(tmp_path, "n", "n/1")
    assert absent(tmp_path, OF_M) == 1
    with pytest.raises(VigilError, match="still holds it"):
        absent(tmp_path)
    made(tmp_path, "n", "m")
    with pytest.raises(VigilError, match="still holds it"):
        absent(tmp_path, OF_M)


def test_a_longer_id_of_another_subject_in_a_journal_is_none(tmp_path):
    journal(tmp_path, "m/1", ident="subject-77")
    assert absent(tmp_path) == 1


def test_what_cannot_be_read_is_no_proof(tmp_path):
    ahead = segment(tmp_path, "n")
    ahead.write_bytes(ahead.read_bytes() + b"subject-7")
    with pytest.raises(VigilError, match=r"7\.wal still holds it"):
        absent(tmp_path, OF_M)
    ahead.unlink()
    torn = journal(tmp_path, "n/1")
    torn.write_bytes(torn.read_bytes()[:-2])
    with pytest.raises(VigilError, match="cannot be searched: it is damaged: a checksum is wrong;"):
        absent(tmp_path, OF_M)


def test_of_a_monitor_that_runs_what_has_come_since_is_none(tmp_path):
    def search(first, newest, gone=GONE):
        return require_forgotten(tmp_path, "monitor", first, gone, newest)

    journal(tmp_path, "m/1")
    journal(tmp_path, "m/1", name="other.1")
    ahead = segment(tmp_path, "m")
    assert search(7, {"m/1": 4}) == 1
    with pytest.raises(VigilError, match=r"monitor\.1\.journal still holds it: do it again"):
        search(7, {"m/1": 5})
    with pytest.raises(VigilError, match=r"monitor\.1\.journal still holds it: do it again"):
        search(7, {})
    with pytest.raises(VigilError, match=r"monitor\.7\.wal still holds it: do it again"):
        search(8, {"m/1": 4})
    ahead.unlink()
    assert search(8, {"m/1": 4}) == 1


@pytest.mark.parametrize("made", [journal, segment])
def test_whoever_has_to_go_ends_a_search(tmp_path, made):
    class Ended(Exception):
        pass

    def end():
        raise Ended

    made(tmp_path, "m")
    with pytest.raises(Ended):
        require_forgotten(tmp_path, "monitor", 9, GONE, {}, end)
