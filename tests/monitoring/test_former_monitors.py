"""Files of monitors that run no more, which several that run deal with."""

import threading

import pytest

from serving.errors import VigilError
from serving.log.folder_lock import folder_lock
from serving.log.subject import Subject
from serving.monitoring import former_monitors
from serving.monitoring.checkpoint import Checkpoint
from serving.monitoring.forgetting import requests_of
from serving.monitoring.former_monitors import FormerMonitors

RUNNING = ("monitor-0", "monitor-1")
SUBJECT = Subject("someone", "principal")


@pytest.fixture
def data_dir(tmp_path):
    entries = [(f"{model}/1", [1, "id-of-both", 0, 1, 2.5, [], None]) for model in "ab"]
    checkpoint = Checkpoint(tmp_path, "monitor", lambda: iter(entries))
    checkpoint.prepare({}, [])()
    checkpoint.close()
    return tmp_path


def of(data_dir, model):
    """Return what the monitor of a model deals with, which has found the request of both."""
    gone = requests_of(SUBJECT, {model: {"id-of-both"}}, lambda other: other == model)
    return FormerMonitors(data_dir, RUNNING, gone)


def left(data_dir):
    checkpoint = Checkpoint(data_dir, "monitor", lambda: iter(()))
    _, entries = checkpoint.load()
    checkpoint.close()
    return [owner for owner, found in entries.items() if found]


def test_each_forgets_requests_of_its_own_models(data_dir):
    first, second = of(data_dir, "a"), of(data_dir, "b")
    assert (first.forget(), left(data_dir)) == (1, ["b/1"])
    assert first.prove() > 0
    with pytest.raises(VigilError, match="still holds it: a file that was set aside, or is of a"):
        second.prove()
    assert (second.forget(), left(data_dir)) == (1, [])
    assert second.prove() > 0


def test_they_take_turns(data_dir, monkeypatch):
    done = []
    waiting = threading.Thread(target=lambda: done.append(of(data_dir, "a").forget()))
    with folder_lock(data_dir, alone=True) as locked:
        assert locked
        waiting.start()
        with monkeypatch.context() as hasty:
            hasty.setattr(former_monitors, "LOCK_S", 0.0)
            for step in (FormerMonitors.forget, FormerMonitors.prove):
                with pytest.raises(VigilError, match="another monitor holds the lock of"):
                    step(of(data_dir, "b"))
        assert left(data_dir) == ["a/1", "b/1"]
    waiting.join(30)
    assert (done, left(data_dir)) == ([1], ["b/1"])
