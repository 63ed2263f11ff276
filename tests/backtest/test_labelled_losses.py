"""Rows whose truth is known are wrong as much as they are."""

from __future__ import annotations

import numpy as np
import pytest

from monitors.performance.labels import LabelEvent
from serving.backtest.happenings import Labelled, Predicted
from serving.backtest.labelled_losses import labelled_losses
from serving.config import ModelConfig
from serving.errors import Unsupported
from serving.monitoring.event_decoding import PredictionEvent


class Past(list):
    rows = 4


def predicted(time, idents, x, outputs):
    index = np.zeros(len(idents), np.int64)
    sex = {"sex": np.array([ident.upper() for ident in idents], object)}
    event = PredictionEvent(time, idents, index, {"x": np.array(x, np.float32)}, outputs, sex)
    return Predicted(time, "1", event)


def labels(time, **truth):
    return Labelled(time, [LabelEvent(ident, 0, value) for ident, value in truth.items()])


def test_of_classes_a_row_is_right_or_wrong(config):
    p = {"p": np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)}
    past = Past([
        predicted(1.0, ["a", "b"], [[1, 2], [3, 4]], p),
        predicted(2.0, ["c", "d"], [[5, 6], [7, 8]], p),
        labels(3.0, b="no", c="no"),
        labels(4.0, d="yes", nobody="yes"),
    ])  # fmt: skip
    found = labelled_losses(past, config)
    assert found.times.tolist() == [1.0, 2.0, 2.0]
    assert found.losses.tolist() == [1.0, 0.0, 0.0]
    assert found.columns["income"].tolist() == [3.0, 5.0, 7.0]
    assert found.groups["sex"].tolist() == ["B", "C", "D"]
    later = found.some(found.times > 1.0)
    assert later.columns["debt"].tolist() == [6.0, 8.0]
    assert later.groups["sex"].tolist() == ["C", "D"]


def test_of_numbers_it_is_the_absolute_error():
    config = ModelConfig.model_validate({
        "format": "torch_export",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
    })  # fmt: skip
    answers = {"y": np.array([[1.0], [2.5]], np.float32)}
    past = Past([predicted(1.0, ["a", "b"], [[1, 2], [3, 4]], answers), labels(2.0, a=3.0, b=2.0)])
    assert labelled_losses(past, config).losses.tolist() == [2.0, 0.5]


def test_numbers_of_two_bytes_are_numbers():
    config = ModelConfig.model_validate({
        "format": "torch_export",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "BF16", "shape": [-1, 1]}],
    })  # fmt: skip
    bits = {"y": np.array([[0x3F80], [0x4020]], np.uint16)}  # 1 and 2.5
    past = Past([predicted(1.0, ["a", "b"], [[1, 2], [3, 4]], bits), labels(2.0, a=3.0, b=2.0)])
    assert labelled_losses(past, config).losses.tolist() == [2.0, 0.5]


def test_without_labels_there_is_nothing(config):
    p = {"p": np.array([[0.9, 0.1]], np.float32)}
    found = labelled_losses(Past([predicted(1.0, ["a"], [[1, 2]], p)]), config)
    assert len(found.losses) == 0


def test_a_model_without_such_labels_is_refused():
    config = ModelConfig.model_validate({
        "format": "torch_export",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "BYTES", "shape": [-1, 1]}],
    })  # fmt: skip
    with pytest.raises(Unsupported, match="classes or numbers"):
        labelled_losses(Past(), config)
