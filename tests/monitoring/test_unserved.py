"""Versions that are replaced while the server is down: what is kept of them is bounded."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from monitors.performance.prediction_entries import is_of
from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import EventMeta, Label, LabelCounts, LabelsMeta, Position
from serving.config import ModelConfig
from serving.monitoring.checkpoint import Checkpoint
from serving.monitoring.service import MonitoringService
from serving.monitoring.unserved import KEPT_S, MOST_UNSERVED
from serving.protocol.messages import Tensor

CONFIG = ModelConfig.model_validate({
    "format": "python", "factory": "net:build", "trust_code": True,
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
    "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]}],
    "monitors": {"drift": None, "performance": {"min": 0.5}},
}).model_dump_json().encode()  # fmt: skip


class Life:
    """A monitor's state on disk through its restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        self.sent = 0
        self.start()

    def start(self, **versions: str) -> None:
        """Go on from what was saved, and serve one version of each of these models."""
        self.service = MonitoringService(lambda: self.now)
        self.checkpoint = Checkpoint(self.folder, "monitor", self.service.entries)
        saved = self.checkpoint.load()
        if saved is not None:
            self.service.restore(*saved)
        self.service.serve([
            ServedModel(model, version, CONFIG, str(self.folder))
            for model, version in versions.items()
        ])  # fmt: skip

    def stop(self) -> None:
        self.save()
        self.checkpoint.close()

    def save(self) -> None:
        for _ in range(2):  # the first one begins a journal
            changes = self.service.changes()
            self.checkpoint.prepare(self.service.state(), changes)()

    def restart(self, **versions: str) -> None:
        self.stop()
        self.start(**versions)

    def answered(self, model: str, version: str, rows: int = 3) -> None:
        position = Position("gateway-0", 1, self.sent, self.sent, self.sent)
        self.sent += 1
        idents = [f"{version}-{row}" for row in range(rows)]
        meta = EventMeta(position, model, version, self.now, idents, [1] * rows, {}, "")
        x = np.zeros((rows, 1), np.float32)
        p = np.tile(np.array([[0.1, 0.9]], np.float32), (rows, 1))
        tensors = [Tensor("in:x", "FP32", (rows, 1), x), Tensor("out:p", "FP32", (rows, 2), p)]
        self.service.observe(meta, tensors)

    def push(self, model: str, *versions: int) -> LabelCounts:
        labels = [Label(f"{version}-0", 0, "yes") for version in versions]
        return self.service.label(LabelsMeta(model, labels))

    def saved(self) -> tuple[set[str], set[str]]:
        """Owners with a state, and owners with entries, as they are on disk."""
        self.save()
        reader = Checkpoint(self.folder, "monitor", lambda: iter(()))
        found = reader.load()
        reader.close()
        assert found is not None
        state, entries = found
        return set(state["models"]), {owner for owner, kept in entries.items() if kept}


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    life = Life(tmp_path)
    yield life
    life.stop()


def replaced(life: Life, times: int) -> None:
    for version in range(1, times + 1):
        life.restart(m=str(version))
        life.answered("m", str(version))


def test_the_newest_few_are_kept(life: Life):
    replaced(life, 12)
    kept = {f"m/{version}" for version in range(12 - MOST_UNSERVED, 13)}
    assert life.saved() == (kept, kept | {"m"})
    state = json.dumps(life.service.state())
    replaced(life, 30)
    assert len(json.dumps(life.service.state())) < len(state) + 200


def test_labels_of_all_of_them_are_late(life: Life):
    replaced(life, 12)
    assert life.push("m", *range(1, 13)) == LabelCounts(accepted=1, late=11)
    life.restart(m="13")
    assert life.push("m", *range(1, 13)) == LabelCounts(late=12)


def test_restarts_remember_a_prediction_once(life: Life):
    replaced(life, 3)
    for _ in range(4):
        life.restart(m="3")
        life.save()
    hashes = [entry[1:] for owner, entry in life.service.entries() if owner == "m"]
    assert sum(map(len, hashes)) == 2 * 3


def test_one_that_is_served_again_goes_on(life: Life):
    replaced(life, 3)
    life.restart(m="1")
    assert life.push("m", 1, 2, 3) == LabelCounts(accepted=1, late=2)


def test_they_are_dropped_after_some_time(life: Life):
    replaced(life, 3)
    assert life.saved()[0] == {"m/1", "m/2", "m/3"}
    life.now += KEPT_S - 10
    life.restart(m="3")
    assert life.saved()[0] == {"m/1", "m/2", "m/3"}
    life.now += 20
    assert life.saved() == ({"m/3"}, {"m/3", "m"})
    assert life.push("m", 1, 2) == LabelCounts(late=2)


def test_a_model_that_is_gone_is_dropped_after_some_time(life: Life):
    replaced(life, 2 * MOST_UNSERVED)
    life.restart(other="1")
    kept = life.saved()[0]
    assert "m/8" in kept  # it may be back tomorrow
    life.restart(other="1")
    life.now += KEPT_S + 1
    assert life.saved() == ({"other/1"}, set())
    life.restart(other="1")
    assert life.saved() == ({"other/1"}, set())


def test_requests_are_forgotten_of_each_model_its_own(life: Life):
    life.restart(m="1", n="1")
    for model in "mn":
        life.answered(model, "1")
    life.restart()
    gone = life.service.forget_requests(lambda model: {"1-0", "1-1"} if model == "n" else (), {})
    assert gone == (2, {})
    held = [owner for owner, entry in life.service.entries() if is_of(entry, {"1-0", "1-1"})]
    assert held == ["m/1"]
