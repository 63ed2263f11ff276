"""A log with answers, groups and labels of a model whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from serving.config import ModelConfig
from serving.dataplane.hooks.record_ids import RecordIds
from serving.log.label_rows import LabelRows
from serving.log.retention import Retention
from serving.log.rows import LoggedBatches, LoggedRequests, LogRows, ModelLog
from serving.log.store import open_store
from serving.log.writer import LogWriter
from serving.models.profile.dataset import Dataset, write_dataset
from serving.monitoring.reports.job import LoggedJob
from serving.reports.rows import ReportRows

NOON = 1_796_040_000.0

LOANS: dict[str, Any] = {
    "format": "torch_export",
    "inputs": [
        {"name": "x", "datatype": "FP32", "shape": [-1, 2],
         "features": [{"name": "income"}, {"name": "debt"}]},
        {"name": "words", "datatype": "BYTES", "shape": [-1, 1],
         "features": [{"name": "purpose", "categories": ["car", "home", "boat"]}]},
    ],
    "outputs": [
        {"name": "p", "datatype": "FP32", "shape": [-1, 2], "classes": ["no", "yes"]},
    ],
    "monitors": {"performance": {"thresholds": {"accuracy": 0.7, "log_loss": 0.3}}},
    "fairness": {
        "sensitive": ["sex"],
        "favorable": "yes",
        "tolerance": {"demographic_parity_ratio": 0.8, "equal_opportunity_difference": 0.1},
    },
}  # fmt: skip


@pytest.fixture
def config() -> ModelConfig:
    return ModelConfig.model_validate(LOANS)


def rows_of(n: int = 4000, seed: int = 0) -> ReportRows:
    """Women are favoured less often than men by .2; the score is the probability of the truth."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(np.array(["F", "M"], object), n)
    share = np.clip(rng.beta(2, 2, n) + np.where(sex == "F", -0.1, 0.1), 0.01, 0.99)
    labels = (rng.random(n) < share).astype(np.int64)
    labelled = rng.random(n) < 0.5
    return ReportRows(
        times=NOON + np.arange(n) * 60.0,
        columns={
            "income": rng.normal(size=n).astype(np.float32),
            "debt": rng.normal(size=n).astype(np.float32),
            "purpose": rng.choice(np.array([b"car", b"home"], object), n),
        },
        predicted=(share > 0.5).astype(np.int64),
        scores=np.stack([1 - share, share], axis=1).astype(np.float32),
        labelled=labelled,
        labels=labels[labelled],
        groups={"sex": sex},
    )


def write_log(folder: Path, rows: ReportRows) -> None:
    features = {"x": ["income", "debt"], "words": ["purpose"], "p": ["no", "yes"]}
    forever = Retention(1e5, 1e5, 1e15)
    writer = LogWriter(
        open_store(str(folder)), folder / "open", forever, {"loans": ModelLog(features=features)}
    )
    writer.start()
    assert rows.scores is not None
    ids, step = RecordIds(), 200
    for first in range(0, rows.rows, step):
        part = slice(first, first + step)
        count = len(rows.times[part])
        inputs = np.stack([rows.columns["income"][part], rows.columns["debt"][part]], axis=1)
        writer.offer(LogRows(
            model="loans", version="1",
            batches=LoggedBatches(ids.new(), [count], [float(rows.times[part][0])], ()),
            inputs={"x": inputs, "words": rows.columns["purpose"][part][:, None]},
            outputs={"p": rows.scores[part]},
            requests=LoggedRequests(
                client_ids=[f"r{at}" for at in range(first, first + count)],
                rows=[1] * count, outcomes=["ok"] * count,
            ),
            sensitive={"sex": rows.groups["sex"][part].tolist()},
        ))  # fmt: skip
    known = np.flatnonzero(rows.labelled)
    if len(known):
        writer.offer_labels(LabelRows(
            "loans", "1", [f"r{at}" for at in known], [0] * len(known),
            (rows.times[known] + 3600).tolist(), rows.labels.tolist(),
        ))  # fmt: skip
    writer.close()


@pytest.fixture
def make_rows() -> Callable[..., ReportRows]:
    return rows_of


@pytest.fixture
def logged(tmp_path: Path) -> Callable[[ReportRows], ReportRows]:
    """Writes rows to the log that jobs read."""

    def write(rows: ReportRows) -> ReportRows:
        write_log(tmp_path / "log", rows)
        return rows

    return write


@pytest.fixture
def rows() -> ReportRows:
    return rows_of()


@pytest.fixture
def version(tmp_path: Path, config: ModelConfig) -> Path:
    folder = tmp_path / "models" / "loans" / "1"
    folder.mkdir(parents=True)
    before = rows_of(1000, 9)
    x = np.stack([before.columns["income"], before.columns["debt"]], axis=1)
    inputs = {"x": x, "words": before.columns["purpose"][:, None]}
    write_dataset(folder / "reference.parquet", Dataset(inputs), config)
    return folder


@pytest.fixture
def make_job(tmp_path: Path, config: ModelConfig, version: Path) -> Callable[..., LoggedJob]:
    def job(kind: str, **more: Any) -> LoggedJob:
        made = LoggedJob(
            kind=kind, format="html", name="loans", version="1", directory=str(version),
            config=config.model_dump_json(), url=str(tmp_path / "log"),
            spool=str(tmp_path / "log" / "open"),
        )  # fmt: skip
        return msgspec.structs.replace(made, **more)

    return job
