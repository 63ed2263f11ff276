"""Rows of a file come in the order of their times, with their answers, labels and groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from serving.backtest import file_past
from serving.backtest.file_past import FilePast, FileTimes
from serving.backtest.happenings import Labelled, Predicted
from serving.config import ConfigError
from serving.errors import InvalidInput

ROWS = 700


class Sums:
    """A model that is sure of `yes` where the first number is positive."""

    def __init__(self) -> None:
        self.asked = 0

    def predict(self, inputs):
        self.asked += len(inputs["x"])
        if np.isnan(inputs["x"]).any():
            raise ValueError("no numbers")
        yes = (inputs["x"][:, 0] > 0).astype(np.float32)
        return {"p": np.stack([1 - yes, yes], axis=1)}


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> Sums:
    made = Sums()
    monkeypatch.setattr(file_past, "load", lambda entry, device: made)
    return made


@pytest.fixture
def columns():
    random = np.random.default_rng(0)
    return {
        "income": random.normal(size=ROWS),
        "debt": random.normal(size=ROWS),
        "at": random.permutation(ROWS) * 3.0 + 1_767_225_600,
        "truth": np.where(random.random(ROWS) < 0.5, "yes", "no"),
        "sex": np.where(random.random(ROWS) < 0.5, "F", "M"),
    }


@pytest.fixture
def file(tmp_path: Path):
    def write(columns) -> Path:
        path = tmp_path / "rows.csv"
        pacsv.write_csv(pa.table(columns), path)
        return path

    return write


def test_every_row_comes_once_and_in_time(entry, file, columns, model):
    past = FilePast(entry, file(columns), FileTimes("at", label_delay_s=60), "truth")
    assert (past.rows, past.labels) == (ROWS, ROWS)
    happened = list(past)
    times = [each.time for each in happened]
    assert times == sorted(times)
    predicted = [each for each in happened if isinstance(each, Predicted)]
    order = np.argsort(columns["at"])
    x = np.concatenate([each.event.inputs["x"] for each in predicted])
    assert np.allclose(x[:, 0], columns["income"][order])
    p = np.concatenate([each.event.outputs["p"] for each in predicted])
    assert (p[:, 1] == (x[:, 0] > 0)).all()
    sex = np.concatenate([each.event.sensitive_features["sex"] for each in predicted])
    assert (sex == columns["sex"][order]).all()
    assert model.asked < 1.3 * ROWS


def test_labels_come_after_their_rows_by_the_delay(entry, file, columns):
    past = FilePast(entry, file(columns), FileTimes("at", label_delay_s=60), "truth")
    told = {}
    for each in past:
        if isinstance(each, Predicted):
            told |= dict.fromkeys(each.event.request_ids, each.time)
        else:
            assert isinstance(each, Labelled)
            for label in each.labels:
                assert each.time - told.pop(label.request_id) == pytest.approx(60)
    assert not told


def test_a_row_without_a_label_has_none(entry, file, columns):
    truth = columns["truth"].astype(object)
    truth[::2] = None
    past = FilePast(entry, file(columns | {"truth": truth}), FileTimes("at"), "truth")
    assert past.labels == ROWS // 2
    labels = [label for each in past if isinstance(each, Labelled) for label in each.labels]
    assert {label.y_true for label in labels} == {"yes", "no"}
    assert len(labels) == ROWS // 2


def test_a_row_of_no_group_is_of_none(entry, file, columns):
    sex = columns["sex"].astype(object)
    sex[::2] = None
    past = FilePast(entry, file(columns | {"sex": sex}), FileTimes("at"), "truth")
    told = [each.event.sensitive_features["sex"] for each in past if isinstance(each, Predicted)]
    assert np.concatenate(told).tolist().count(None) == ROWS // 2


def test_without_times_rows_come_one_after_the_other_up_to_now(entry, file, columns):
    del columns["at"]
    past = FilePast(entry, file(columns), FileTimes(rows_per_day=ROWS), "truth", end=1e9)
    assert past.last == 1e9
    assert past.last - past.first == pytest.approx(86_400 * (ROWS - 1) / ROWS)


def test_what_a_file_lacks_is_told(entry, file, columns):
    del columns["truth"], columns["sex"]
    notes = FilePast(entry, file(columns), FileTimes("at")).notes
    assert any("'y_true'" in note for note in notes)
    assert any("'sex'" in note for note in notes)


@pytest.mark.parametrize(
    ("change", "times", "label", "error", "said"),
    [
        ({}, FileTimes(), "truth", InvalidInput, "--time"),
        ({}, FileTimes("when"), "truth", ConfigError, "'when'"),
        ({}, FileTimes("at"), "y", ConfigError, "'y'"),
        ({"debt": None}, FileTimes("at"), "truth", ConfigError, "'debt'"),
        ({"truth": ["maybe"] * ROWS}, FileTimes("at"), "truth", ConfigError, "'maybe'"),
        ({"at": ["soon"] * ROWS}, FileTimes("at"), "truth", ConfigError, "'at'"),
    ],
)
def test_wrong_files_are_one_sentence(entry, file, columns, change, times, label, error, said):
    wrong = {name: each for name, each in (columns | change).items() if each is not None}
    with pytest.raises(error, match=said):
        FilePast(entry, file(wrong), times, label)


def test_rows_that_the_model_refuses_are_one_sentence(entry, file, columns):
    columns["income"][columns["at"].argmax()] = np.nan
    past = FilePast(entry, file(columns), FileTimes("at"), "truth")
    with pytest.raises(InvalidInput, match=r"cannot answer rows .*ValueError: no numbers"):
        list(past)
