"""Questions for logged predictions, as the monitor answers them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from serving.channel.messages.directory import ServedModel
from serving.channel.messages.observation import (
    LOGGED_INPUTS,
    PREDICTIONS,
    LoggedInputsMeta,
    PredictionsMeta,
    RecalledMeta,
    RecalledRow,
)
from serving.config import ModelConfig
from serving.config.encoded import encode_config
from serving.errors import (
    InvalidInput,
    ModelNotReady,
    NoLongerThere,
    NotFound,
    Overloaded,
    Unsupported,
    VersionGone,
)
from serving.log.label_rows import LabelRows
from serving.log.place import LogPlace
from serving.log.retention import Retention
from serving.log.store import open_store
from serving.log.writer import LogWriter
from serving.monitoring import predictions as module
from serving.monitoring.predictions import LoggedPredictions

CONFIG = ModelConfig.model_validate(
    {
        "format": "torch_export",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
    }
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def found(folder: Path):
    made = LoggedPredictions(LogPlace(str(folder), folder / "open"), flush_s=0)
    made.serve([ServedModel("m", "1", encode_config(CONFIG), "nowhere")])
    yield made
    made.close()


async def ask(found: LoggedPredictions, kind: str, meta: object) -> Any:
    message: Any = SimpleNamespace(kind=kind, meta=msgspec.msgpack.encode(meta))
    return await found.reply(message)


async def rows(found: LoggedPredictions, ident: str, index: int | None = None, model="m") -> Any:
    answer, _ = await ask(found, PREDICTIONS, PredictionsMeta(model, ident, index))
    return msgspec.json.decode(answer)


async def test_rows_have_the_label_that_is_true_by_now(found, folder, log_request):
    log_request(folder, "r1", {"in_x": [1.5, 2.5], "out_y": [0.0, 1.0]})
    store, spool = open_store(str(folder)), folder / "open"
    writer = LogWriter(store, spool, Retention(1e5, 1e5, 1e15), {})
    writer.start()
    for truth, seconds in ((1.0, 1.5), (0.25, 2)):
        times = [1_796_040_000.0 + seconds]
        writer.offer_labels(LabelRows("m", "1", ["r1"], [1], times, [truth]))
    writer.close()
    first, second = (await rows(found, "r1"))["rows"]
    assert (first["label"], first["label_time"]) == (None, None)
    assert (second["label"], second["label_time"]) == (0.25, "2026-11-30T12:00:02Z")
    _, tensors = await inputs(found, "r1")
    assert [tensor.name for tensor in tensors] == ["x"]


async def inputs(found, ident: str, index: int | None = None, most: int = 9) -> Any:
    meta = LoggedInputsMeta(PredictionsMeta("m", ident, index), most)
    return await ask(found, LOGGED_INPUTS, meta)


async def test_rows_are_found(found, folder, log_request):
    log_request(folder, "r1", {"in_x": [1.5, 2.5], "out_y": [0.0, 1.0]}, revision="abc")
    answer = await rows(found, "r1")
    assert [row["inputs"] for row in answer["rows"]] == [{"x": 1.5}, {"x": 2.5}]
    [row] = (await rows(found, "r1", 1))["rows"]
    assert (row["index"], row["outputs"], row["revision"]) == (1, {"y": 1.0}, "abc")


async def test_what_is_logged_while_it_is_asked_for_is_found(folder, log_request):
    found = LoggedPredictions(LogPlace(str(folder), folder / "open"), flush_s=0.2)
    asked = asyncio.create_task(rows(found, "late"))
    await asyncio.sleep(0)
    log_request(folder, "late", {"in_x": [1.5]})
    assert len((await asked)["rows"]) == 1
    found.close()


@pytest.mark.parametrize(
    ("ident", "index", "model"), [("r2", None, "m"), ("r1", 5, "m"), ("r1", None, "n")]
)
async def test_what_is_not_there_is_told_with_its_reasons(
    found, folder, log_request, ident, index, model
):
    log_request(folder, "r1", {"in_x": [1.5]})
    with pytest.raises(NotFound, match=f"no prediction of model '{model}' with the id '{ident}'"):
        await rows(found, ident, index, model)


async def test_a_log_that_cannot_be_read_is_told(found, folder):
    part = folder / "predictions/model=m/version=1/date=2026-11-30/part-x.parquet"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"no Parquet")
    with pytest.raises(ModelNotReady, match="cannot be read now"):
        await rows(found, "r1")


async def test_questions_do_not_pile_up(found, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    asked = [rows(found, "r1") for _ in range(3)]
    said = await asyncio.gather(*asked, return_exceptions=True)
    assert sorted(type(each).__name__ for each in said) == ["NotFound", "NotFound", "Overloaded"]
    with pytest.raises(NotFound):
        await rows(found, "r1")
    assert any(isinstance(each, Overloaded) for each in said)


@pytest.mark.parametrize("ask_for", [rows, inputs])
async def test_without_a_log_it_says_so(ask_for):
    found = LoggedPredictions(None)
    with pytest.raises(Unsupported, match="`log: null`"):
        await ask_for(found, "r1")
    found.close()


async def test_inputs_come_with_what_answered(found, folder, log_request):
    log_request(folder, "r1", {"in_x": [1.5, 2.5], "out_y": [0.0, 1.0]}, revision="abc")
    meta, [tensor] = await inputs(found, "r1")
    assert (meta.version, meta.revision) == ("1", "abc")
    assert (tensor.name, tensor.shape) == ("x", (2,))
    _, [tensor] = await inputs(found, "r1", 1)
    assert tensor.data.tolist() == [2.5]
    with pytest.raises(InvalidInput, match="2 rows, more than 1; name one with `index`"):
        await inputs(found, "r1", most=1)


async def test_why_there_are_no_inputs(found, folder, log_request):
    log_request(folder, "old", {"in_x": [1.5]}, version="7")
    log_request(folder, "bare", {"out_y": [1.5]})
    with pytest.raises(VersionGone, match="version 7 of model 'm', which made this prediction"):
        await inputs(found, "old")
    with pytest.raises(NoLongerThere, match="was not captured"):
        await inputs(found, "bare")


@pytest.mark.parametrize("outcome", ["rejected", "invalid", "failed"])
async def test_what_was_not_answered_has_no_prediction_to_explain(
    found, folder, log_request, outcome
):
    log_request(folder, "r1", {"in_x": [1.5]}, outcome=outcome)
    with pytest.raises(NotFound, match=rf"'r1' of model 'm' was not answered \({outcome}\)"):
        await inputs(found, "r1")


# -- predictions of labels ------------------------------------------------------------------


async def test_predictions_of_labels_are_found_at_once(found, folder, log_request):
    log_request(folder, "r1", {"out_y": [0.5, 2.5], "predicted": [0.5, 2.5]}, seconds=1000.0)
    log_request(folder, "r2", {"out_y": [0.5]})
    answer = await found.recall("m", [("r1", 1), ("r1", 2), ("r2", 0), ("never", 0)])
    assert answer == RecalledMeta("m", [RecalledRow("r1", 1, "1", 1000.0, 2.5, [])])


async def test_pushes_of_labels_do_not_pile_up(found, monkeypatch):
    monkeypatch.setattr(module, "MOST_RECALLS", 2)
    asked = [found.recall("m", [("r1", 0)]) for _ in range(3)]
    said = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each).__name__ for each in said] == ["RecalledMeta"] * 2 + ["Overloaded"]
    assert await found.recall("m", [("r1", 0)]) == RecalledMeta("m", [])


async def test_a_log_that_cannot_be_read_has_no_predictions_of_labels_now(found, folder):
    part = folder / "predictions/model=m/version=1/date=2026-11-30/part-x.parquet"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"no Parquet")
    with pytest.raises(ModelNotReady, match="cannot be read now"):
        await found.recall("m", [("r1", 0)])
