"""A monitor that logs, fed over real sockets by a real publisher."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import (
    LABELS,
    PREDICTIONS,
    REFUSED,
    Label,
    LabelCounts,
    LabelsMeta,
    PredictionsMeta,
    RequestColumns,
)
from serving.config import Log, ModelConfig, ModelLog, SensitiveLog
from serving.config.encoded import encode_config
from serving.config.log import LOG_VARIABLE
from serving.dataplane.hooks.event_batches import EventBatch, EventKey, LogColumns
from serving.dataplane.hooks.record_ids import new_record_id
from serving.log.place import place_of
from serving.log.reader import LogReader
from serving.monitoring import role as role_module
from serving.monitoring.role import MonitorRole

Wait = Callable[[Callable[[], object]], Awaitable[None]]
LOG = Log(sensitive=SensitiveLog(retention_days=1))


@pytest.fixture
def served(served: ServedModel, tabular_config: ModelConfig) -> ServedModel:
    """The version of these tests, as it is when it is logged."""
    logged = tabular_config.model_copy(update={"log": ModelLog(capture="full", sample=1)})
    return ServedModel(served.name, served.version, encode_config(logged), served.directory)


@pytest.fixture
async def monitor(tmp_path: Path, registry: Any) -> AsyncIterator[MonitorRole]:
    role = MonitorRole(
        f"unix:{tmp_path}/registry.sock", f"unix:{tmp_path}/monitor.sock", tmp_path / "data",
        checkpoint_s=60, log=LOG,
    )  # fmt: skip
    await role.start()
    yield role
    await role.stop()


def batch(tabular: Any, rows: int) -> EventBatch:
    requests = RequestColumns(list(range(rows)), [0.1] * rows, [0.2] * rows)
    return EventBatch(
        1_796_040_000.0,
        [f"r{row}" for row in range(rows)],
        [1] * rows,
        tabular.inputs(rows),
        tabular.outputs(np.ones(rows, bool)),
        {"sex": np.array(["F"] * rows, object)},
        LogColumns(new_record_id(), 1000, 0, requests),
        {"mahalanobis": np.arange(rows, dtype=np.float32)},
    )


def refusal() -> EventBatch:
    requests = RequestColumns([0], [0.1], [0.1], {0: "invalid"})
    log = LogColumns(new_record_id(), 0, 0, requests)
    return EventBatch(1_796_040_000.0, ["wrong"], [0], {}, {}, None, log)


async def test_what_is_published_is_judged_and_logged(
    monitor: MonitorRole, gateway: Any, tabular: Any, eventually: Wait, registry: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    await eventually(lambda: gateway.publisher.connected)
    gateway.publisher.publish(EventKey("loans", "1", "r"), batch(tabular, 20))
    gateway.publisher.publish(EventKey("loans", "1", "r", kind=REFUSED), refusal())
    gateway.publisher.flush()

    def counted() -> float:
        report = monitor._report()
        return sum(each.value for each in report.series if each.name == "vigil.store.rows")

    await eventually(lambda: counted() == 21)
    place = place_of(LOG, tmp_path / "data")
    reader = LogReader(place.store(), place.spool)
    table = await asyncio.to_thread(lambda: reader.scan("loans").read_all())
    outcomes = dict(zip(table["client_id"].to_pylist(), table["outcome"].to_pylist(), strict=True))
    assert outcomes == {**{f"r{row}": "ok" for row in range(20)}, "wrong": "invalid"}
    assert {"in_income", "in_debt", "in_purpose", "out_no", "out_yes"} <= set(table.column_names)
    assert "sex" not in table.column_names
    scores = dict(
        zip(table["client_id"].to_pylist(), table["score_mahalanobis"].to_pylist(), strict=True)
    )
    assert scores == {**{f"r{row}": float(row) for row in range(20)}, "wrong": None}
    assert monitor.service.status().events.received == 20
    assert monitor._report().status.log == ()  # type: ignore[union-attr]


def rejection(ident: str, words: bytes, tabular: Any, **more: Any) -> EventBatch:
    """Return a refused request whose values nobody has found good."""
    requests = RequestColumns([0], [0.1], [0.1], {0: "rejected"}, {0: [("schema", 0, 3)]})
    x = np.array([[np.nan, 3e38]], np.float32)
    inputs = {"x": x, "words": np.array([[words]], object)}
    log = LogColumns(new_record_id(), 0, 0, requests)
    sensitive = {"sex": np.array(["M"], object)}
    return EventBatch(1_796_040_000.0, [ident], [1], {**inputs, **more}, {}, sensitive, log)


async def test_refused_inputs_are_logged_and_spoil_no_column_of_others(
    monitor: MonitorRole, gateway: Any, tabular: Any, eventually: Wait, tmp_path: Path
) -> None:
    await eventually(lambda: gateway.publisher.connected)
    refused = EventKey("loans", "1", "r", kind=REFUSED)
    values = [b"\xff\xfe", b"=HYPERLINK(1)", "\u00fc\x00\u2028".encode(), b"w" * (1 << 20)]
    for number, value in enumerate(values):
        gateway.publisher.publish(EventKey("loans", "1", "r"), batch(tabular, 2))
        key = refused._replace(inputs=("x", "words"))
        gateway.publisher.publish(key, rejection(f"no{number}", value, tabular))
        wide = {"x": np.ones((1, 7), np.float64)}  # no request of the model has it
        gateway.publisher.publish(key, rejection(f"odd{number}", value, tabular, **wide))
    gateway.publisher.flush()

    def counted() -> float:
        report = monitor._report()
        return sum(each.value for each in report.series if each.name == "vigil.store.rows")

    await eventually(lambda: counted() == 4 * (2 + 1 + 1))
    place = place_of(LOG, tmp_path / "data")

    def rows(dataset: Any) -> list[dict[str, Any]]:
        reader = LogReader(place.store(), place.spool, dataset)
        return reader.scan("loans").read_all().to_pylist()

    found = await asyncio.to_thread(rows, "predictions")
    good = [row for row in found if row["outcome"] == "ok"]
    assert len(good) == 8
    assert {row["in_purpose"] for row in good} <= {"car", "home", "other"}
    assert all(isinstance(row["in_income"], float) for row in good)
    bad = {row["client_id"]: row for row in found if row["client_id"].startswith("no")}
    assert [bad[f"no{number}"]["in_purpose"] for number in range(4)] == [
        "\\xff\\xfe", "=HYPERLINK(1)", "\u00fc\x00\u2028", "w" * (1 << 20),
    ]  # fmt: skip
    assert {row["decisions"][0] for row in bad.values()} == {"schema:reject"}
    assert not [name for name in found[0] if "sex" in name]
    sensitive = {row["client_id"]: row for row in await asyncio.to_thread(rows, "sensitive")}
    assert {sensitive[f"no{number}"]["sex"] for number in range(4)} == {"M"}


async def test_what_is_wrong_with_the_log_is_reported(
    monitor: MonitorRole, gateway: Any, tabular: Any, eventually: Wait
) -> None:
    await eventually(lambda: gateway.publisher.connected)
    wrong = batch(tabular, 20)
    assert wrong.log is not None
    wrong.log.requests.first_rows.pop()
    gateway.publisher.publish(EventKey("loans", "1", "r"), wrong)
    gateway.publisher.flush()
    await eventually(lambda: monitor._report().status.log)  # type: ignore[union-attr]
    (said,) = monitor._report().status.log  # type: ignore[union-attr]
    assert said.startswith("the prediction log has lost 20 rows since ")
    assert said.endswith(": they hold what no column can")


async def test_labels_meet_predictions_that_only_the_log_has(
    monitor: MonitorRole, gateway: Any, tabular: Any, eventually: Wait
) -> None:
    for watch in monitor.service.watches:
        watch._truth._join._max_rows = 5  # type: ignore[union-attr]
    await eventually(lambda: gateway.publisher.connected)
    gateway.publisher.publish(EventKey("loans", "1", "r"), batch(tabular, 20))
    gateway.publisher.flush()
    log = monitor._log
    assert log is not None
    await eventually(lambda: log._writer.counts().stored == 20)

    async def push(*idents: str) -> LabelCounts:
        pushed = LabelsMeta("loans", [Label(ident, 0, "yes") for ident in idents])
        answer = await gateway.publisher.request(LABELS, pushed, model="loans")
        return msgspec.msgpack.decode(answer.meta, type=LabelCounts)

    assert await push("r3", "r4", "r19", "never") == LabelCounts(accepted=3, unknown=1)
    assert await push("r3", "r4", "r19") == LabelCounts(duplicate=1, late=2)
    await eventually(lambda: log._writer.counts().labels == 3)

    async def label_of(ident: str) -> Any:
        asked = PredictionsMeta("loans", ident)
        answer = await gateway.publisher.request(PREDICTIONS, asked, model="loans")
        (row,) = msgspec.json.decode(msgspec.msgpack.decode(answer.meta))["rows"]
        return row["label"]

    assert [await label_of(ident) for ident in ("r3", "r4", "r19", "r5")] == [1, 1, 1, None]
    (watch,) = monitor.service.watches
    assert watch._truth is not None
    assert watch._truth.coverage == 3 / 20


def test_a_monitor_process_is_told_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Told(Exception):
        """Nothing else is to happen."""

    def role(*_arguments: Any, log: Log | None, **_options: Any) -> Any:
        told.append(log)
        raise Told

    monkeypatch.setattr(role_module, "MonitorRole", role)
    monkeypatch.setattr(role_module, "configure", lambda *_: None)
    monkeypatch.setattr(role_module, "set_title", lambda *_: None)
    monkeypatch.setattr(role_module, "step_aside", lambda: None)
    argv = ["--registry", "unix:/nowhere", "--address", "unix:/no", "--data-dir", "/nowhere"]
    for log in (LOG, None):
        if log is None:
            monkeypatch.delenv(LOG_VARIABLE)
        else:
            monkeypatch.setenv(LOG_VARIABLE, log.model_dump_json())
        with pytest.raises(Told):
            role_module.main(argv)
    assert told == [LOG, None]
