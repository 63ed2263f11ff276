"""What labels need of logged rows, found by many keys at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from serving.log.forget import forget
from serving.log.id_hashes import crc_pairs
from serving.log.keyed_rows import FoundPrediction, hash_keys
from serving.log.retention import Retention, all_parts, retain
from serving.log.rows import ModelLog
from serving.log.store import Store
from serving.log.subject import Subject


def classes(outputs: Any) -> Any:
    return outputs["y"].argmax(axis=1)


def scores(*predicted: int) -> dict[str, Any]:
    return {"y": np.eye(3, dtype=np.float32)[list(predicted)]}


@pytest.fixture
def rows(rows):
    """Make rows of a model that takes classes as labels."""
    return lambda *sizes, **given: rows(*sizes, **{"predicted": classes} | given)


@pytest.fixture(params=["streams", "parts", "parts of before", "parts far away"])
def filled(request, log, rows):
    """Write batches; return a reader of where they are: in streams, or parts with files beside."""

    def write(*batches, models=None):
        writer = log.writer(models)
        for batch in batches:
            assert writer.offer(batch)
        assert writer.flush(10)
        if request.param != "streams":
            writer.close()
        if request.param == "parts of before":
            for part in all_parts(log.store):
                log.store.delete(part.predicted)
        if request.param == "parts far away":
            log.store = Store(log.store.filesystem, str(log.folder))
        return log.reader()

    return write


def found(reader, *keys, model="m"):
    return {each.key: each for each in reader.find_many(model, list(keys))}


def test_what_was_predicted_is_found_by_id_and_index(filled, rows):
    first = rows(1, 3, time=1_796_040_000.25, outputs=scores(0, 1, 2, 1))
    second = rows(1, version="2", outputs=scores(2))
    reader = filled(first, second)
    a, b = first.requests.client_ids
    (c,) = second.requests.client_ids
    keys = [(b, 2), (a, 0), (c, 0), (b, 3), (a, 1), ("never", 0), (b, 1), ("\ud800", 0)]
    answers = found(reader, *keys)
    assert {key: (each.version, each.predicted) for key, each in answers.items()} == {
        (a, 0): ("1", 0), (b, 1): ("1", 2), (b, 2): ("1", 1), (c, 0): ("2", 2),
    }  # fmt: skip
    assert answers[a, 0] == FoundPrediction((a, 0), "1", 1_796_040_000.25, 0, [])
    assert found(reader, *keys, model="n") == {}
    assert found(reader) == {}


def test_the_newest_of_one_id_is_found(filled, rows):
    ids = {"client_ids": ["twice"]}
    batches = [
        rows(1, time=1_796_040_000.0 + at, requests=ids, outputs=scores(at)) for at in (1, 2, 0)
    ]
    assert found(filled(*batches), ("twice", 0))["twice", 0].predicted == 2


@pytest.mark.parametrize("kind", [np.float64, "list"])
def test_numbers_and_lists_are_found(filled, rows, kind):
    values = np.array([[1.5, np.nan], [2.5, -1.0]])
    given = values if kind == "list" else values[:, 0]
    batch = rows(2, outputs={"y": values}, predicted=lambda _: given)
    reader = filled(batch)
    (a,) = batch.requests.client_ids
    answers = found(reader, (a, 0), (a, 1))
    assert [repr(answers[a, at].predicted) for at in (0, 1)] == [repr(v) for v in given.tolist()]


def test_names_of_what_came_with_the_request_are_found_and_no_values(filled, rows, log):
    batch = rows(2, outputs=scores(0, 1), sensitive={"sex": ["F", None], "age": ["old", "young"]})
    reader = filled(batch)
    (a,) = batch.requests.client_ids
    answers = found(reader, (a, 0), (a, 1))
    assert [sorted(answers[a, at].known) for at in (0, 1)] == [["age", "sex"], ["age"]]
    assert log.table()["told"].to_pylist() == [["sex", "age"], ["age"]]


def wrong(outputs: Any) -> Any:
    raise TypeError("no such output")


@pytest.mark.parametrize(
    ("capture", "predicted"),
    [("full", None), ("none", classes), ("full", lambda outputs: outputs["z"]), ("full", wrong),
     ("full", lambda outputs: outputs["y"][:1])],
)  # fmt: skip
def test_rows_without_what_was_predicted_are_logged_and_not_found(
    filled, rows, log, capture, predicted
):
    batch = rows(2, outputs=scores(0, 1), predicted=predicted)
    reader = filled(batch, models={"m": ModelLog(capture)})
    assert found(reader, (batch.requests.client_ids[0], 0)) == {}
    table = log.table()
    assert table.num_rows == 2
    assert "predicted" not in table.column_names


def test_versions_of_a_model_may_be_compared_with_different_outputs(filled, rows):
    batches = [
        rows(1, outputs=scores(2)),
        rows(1, version="2", outputs=scores(2), predicted=lambda outputs: outputs["y"][:, 0]),
        rows(1, outputs=scores(2), predicted=lambda outputs: outputs["y"][:, 2]),
    ]
    keys = [(batch.requests.client_ids[0], 0) for batch in batches]
    answers = found(filled(*batches), *keys)
    assert [answers[key].predicted for key in keys] == [2, 0.0, 1.0]


def test_rows_that_failed_are_not_found(filled, rows):
    failed = rows(1, outputs={}, requests={"outcomes": ["error"]})
    reader = filled(failed, rows(1, outputs=scores(1)))
    assert found(reader, (failed.requests.client_ids[0], 0)) == {}


def test_a_damaged_file_is_made_again_of_its_part(log, rows):
    batch = rows(1, outputs=scores(1))
    writer = log.writer()
    writer.offer(batch)
    writer.close()
    (part,) = all_parts(log.store)
    content = log.store.read(part.predicted)
    for damaged in (b"", content[:40], b"x" * len(content)):
        log.store.write(part.predicted, lambda file, content=damaged: file.write(content))
        assert found(log.reader(), (batch.requests.client_ids[0], 0))


def test_files_beside_a_part_go_with_it(log, rows):
    writer = log.writer()
    writer.offer(rows(1, outputs=scores(1)))
    writer.close()
    (part,) = all_parts(log.store)
    assert {path for path, _ in log.store.files("index")} == set(part.beside)
    retain(log.store, Retention(1, 1, 1e15), datetime(2027, 1, 1, tzinfo=UTC))
    assert not [path for path, _ in log.store.files("") if path.startswith(("index", "pred"))]


def test_what_was_used_last_stays_within_a_size(log, rows):
    writer = log.writer()
    batches = [rows(1, version=str(at), outputs=scores(at)) for at in range(3)]
    for batch in batches:
        writer.offer(batch)
    writer.close()
    log.store = Store(log.store.filesystem, str(log.folder))
    reader = log.reader()
    reader._predicted._kept._most = 1
    for _ in range(2):
        for at, batch in enumerate(batches):
            key = (batch.requests.client_ids[0], 0)
            assert found(reader, key)[key].predicted == at
    assert len(reader._predicted._kept) == 1


def test_hashes_differ_between_ids_and_indexes():
    ids = [f"r{number}" for number in range(1000)]
    index = np.repeat(np.arange(5), 1000)
    hashes = hash_keys(crc_pairs(pa.array(ids * 5)), index)
    assert len(set(hashes.tolist())) == 5000
    assert hash_keys(crc_pairs(pa.array(["r7"])), np.array([3])) == hashes[3007]


def test_what_is_forgotten_is_not_found_and_the_rest_is(log, rows):
    writer = log.writer()
    batches = [rows(2, outputs=scores(0, 1)), rows(1, outputs=scores(2))]
    for batch in batches:
        writer.offer(batch)
    writer.close()
    (gone,), (kept,) = (batch.requests.client_ids for batch in batches)
    forget(log.store, log.spool, Subject(gone))
    (part,) = all_parts(log.store)
    assert log.store.read(part.predicted)
    assert set(found(log.reader(), (gone, 0), (gone, 1), (kept, 0))) == {(kept, 0)}
    forget(log.store, log.spool, Subject(kept))
    assert not list(log.store.files("index"))
