"""The process reads a job, looks at the log, and always answers with a cause."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from serving.backtest.cause_process import found
from serving.channel.messages.causes import Cause, CauseMeta
from serving.dataplane.hooks.record_ids import RecordIds
from serving.log.label_rows import LabelRows
from serving.log.place import LogPlace
from serving.log.retention import Retention
from serving.log.rows import LoggedBatches, LoggedRequests, LogRows, ModelLog
from serving.log.store import open_store
from serving.log.writer import LogWriter
from serving.monitoring.causes.job import job_of

NOON = 1_796_040_000.0
WEEK = 7 * 86_400.0
N = 2000


@pytest.fixture
def place(tmp_path: Path):
    """A log of rows whose labels came a week later; the later half has other truths."""
    store, spool = open_store(str(tmp_path / "log")), tmp_path / "log" / "open"
    features = {"x": ["income", "debt"], "p": ["no", "yes"]}
    writer = LogWriter(
        store, spool, Retention(1e5, 1e5, 1e15), {"loans": ModelLog(features=features)}
    )
    writer.start()
    random, ids = np.random.default_rng(2), RecordIds()
    sex = np.where(random.random(N) < 0.5, "F", "M")
    x = random.normal(size=(N, 2)).astype(np.float32)
    x[sex == "F", 1] -= 1
    yes = x[:, 1] > 0
    names = [f"r{each}" for each in range(N)]
    times = NOON + np.arange(N)
    for at in range(0, N, 500):
        part = slice(at, at + 500)
        writer.offer(LogRows(
            model="loans", version="1",
            batches=LoggedBatches(ids.new(), [500], [float(times[at])], ()),
            inputs={"x": x[part]},
            outputs={"p": np.stack([1 - yes[part], yes[part]], axis=1).astype(np.float32)},
            requests=LoggedRequests(client_ids=names[part], rows=[1] * 500, outcomes=["ok"] * 500),
            sensitive={"sex": sex[part].tolist()},
        ))  # fmt: skip
    truth = yes.copy()
    other = (np.arange(N) >= N // 2) & (x[:, 0] > 0.5)
    truth[other] = ~truth[other]
    came = (times + WEEK).tolist()
    writer.offer_labels(
        LabelRows("loans", "1", names, [0] * N, came, [int(each) for each in truth])
    )
    writer.close()
    return LogPlace(str(tmp_path / "log"), spool)


def job(entry, place, metric, attribute, since):
    return job_of(CauseMeta("loans", metric, attribute, since), [entry], place)


def test_a_loss_is_explained_by_when_its_labels_came(entry, place):
    since = NOON + WEEK + N / 2
    cause = found(job(entry, place, "accuracy", "", since))
    assert (cause.kind, cause.rows) == ("concept shift", (N // 2, N // 2))
    assert next(iter(cause.features)) == "income"


def test_a_gap_is_explained_without_labels(entry, place):
    cause = found(job(entry, place, "demographic_parity_difference", "sex", NOON))
    assert (cause.kind, cause.group) == ("covariate shift", "F")
    assert next(iter(cause.features)) == "debt"
    assert sum(cause.rows) == N


def test_a_gap_of_errors_is_looked_for_among_labels(entry, place):
    cause = found(job(entry, place, "equalized_odds_difference", "sex", NOON))
    assert "error rate" in cause.summary
    assert cause.group or not cause.known


def run(body: bytes) -> Cause:
    done = subprocess.run(
        [sys.executable, "-m", "serving.backtest.cause_process"],
        input=body, capture_output=True, check=True, timeout=100,
    )  # fmt: skip
    return msgspec.json.decode(done.stdout, type=Cause)


def test_the_process_answers(entry, place):
    asked = job(entry, place, "accuracy", "", NOON + WEEK + N / 2)
    assert run(msgspec.json.encode(asked)).kind == "concept shift"


def test_what_lacks_is_said(entry, place, tmp_path):
    later = job(entry, place, "accuracy", "", NOON + 2 * WEEK)
    said = run(msgspec.json.encode(later))
    assert not said.known
    assert "no label of model 'loans' that came since 2026-" in said.summary
    empty = job(entry, LogPlace(str(tmp_path / "none"), tmp_path / "open"), "accuracy", "", NOON)
    assert "no label" in run(msgspec.json.encode(empty)).summary


def test_no_job_is_an_answer_too():
    assert run(b"{").summary.startswith("the cause is not known: looking for it failed")
