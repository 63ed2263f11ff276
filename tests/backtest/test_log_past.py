"""What the log has is played as it was: answers, groups, labels at the time when they came."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from serving.backtest.happenings import Labelled, Predicted
from serving.backtest.log_past import Labelling, LogPast
from serving.dataplane.hooks.record_ids import RecordIds
from serving.errors import VigilError
from serving.log.label_rows import LabelRows
from serving.log.reader import LogReader
from serving.log.retention import Retention
from serving.log.rows import LoggedBatches, LoggedRequests, LogRows, ModelLog
from serving.log.store import open_store
from serving.log.writer import LogWriter

NOON = 1_796_040_000.0


def logged(ids: RecordIds, first: int, count: int, time: float, **more) -> LogRows:
    at = np.arange(first, first + count)
    given = {
        "model": "loans", "version": "1",
        "batches": LoggedBatches(ids.new(), [count], [time], ()),
        "inputs": {"x": np.stack([at, -at], axis=1).astype(np.float32)},
        "outputs": {"p": np.tile(np.float32([0.25, 0.75]), (count, 1))},
        "requests": LoggedRequests(
            client_ids=[f"r{each}" for each in at], rows=[1] * count, outcomes=["ok"] * count
        ),
    }  # fmt: skip
    return LogRows(**given | more)


@pytest.fixture
def readers(tmp_path: Path):
    store = open_store(str(tmp_path / "log"))
    features = {"x": ["income", "debt"], "p": ["no", "yes"]}
    spool = tmp_path / "log" / "open"
    forever = Retention(1e5, 1e5, 1e15)
    writer = LogWriter(store, spool, forever, {"loans": ModelLog(features=features)})
    writer.start()
    ids = RecordIds()
    sex = np.array(["F", None, "M"] * 10, object)
    writer.offer(logged(ids, 30, 30, NOON + 100, sensitive={"sex": sex.tolist()}))
    writer.offer(logged(ids, 0, 30, NOON))
    refused = LoggedRequests(client_ids=["no"], rows=[1], outcomes=["rejected"])
    writer.offer(logged(ids, 99, 1, NOON + 1, requests=refused, outputs={}))
    came = [NOON + 500, NOON + 400]
    writer.offer_labels(LabelRows("loans", "1", ["r41", "r2"], [0, 0], came, [1, 0]))
    writer.close()
    return LogReader(store, spool), LogReader(store, spool, "sensitive")


def test_rows_come_as_they_were(entry, readers):
    past = LogPast([entry], *readers, None, None)
    assert past.rows == 60
    predicted = [each for each in past if isinstance(each, Predicted)]
    assert [each.time for each in predicted] == sorted(each.time for each in predicted)
    idents = [ident for each in predicted for ident in each.event.request_ids]
    assert idents == [f"r{at}" for at in range(60)]
    x = np.concatenate([each.event.inputs["x"] for each in predicted])
    assert (x[:, 0] == np.arange(60)).all()
    assert all((each.event.outputs["p"] == np.float32([0.25, 0.75])).all() for each in predicted)
    sex = np.concatenate([each.event.sensitive_features["sex"] for each in predicted])
    assert sex.tolist() == [None] * 30 + ["F", None, "M"] * 10


def test_a_log_without_such_rows_says_what_it_has(entry, readers, tmp_path):
    with pytest.raises(VigilError, match=r"no answers of model 'other' .* it has loans"):
        LogPast([replace(entry, name="other")], *readers, None, None)


def test_labels_come_when_they_came(entry, readers):
    past = LogPast([entry], *readers, None, None)
    assert past.labels == 2
    *_, last = past
    assert isinstance(last, Labelled)
    assert [(each.request_id, each.y_true) for each in last.labels] == [("r2", 0), ("r41", 1)]
    assert [each.timestamp for each in last.labels] == [NOON + 400, NOON + 500]


def test_a_part_without_labels_says_so(entry, readers):
    since = datetime.fromtimestamp(NOON + 50, UTC)
    until = datetime.fromtimestamp(NOON + 99, UTC)
    with pytest.raises(VigilError, match="in this time"):
        LogPast([entry], *readers, since, until)


def test_a_labelled_row_has_its_group_however_many_newer_rows_have_none(entry, readers):
    since = Labelling(datetime.fromtimestamp(NOON + 450, UTC), later=True)
    [predicted] = [
        each
        for each in LogPast([entry], *readers, None, None, 1, since)
        if isinstance(each, Predicted)
    ]
    assert predicted.event.request_ids == ["r41"]
    assert predicted.event.sensitive_features["sex"].tolist() == ["M"]
