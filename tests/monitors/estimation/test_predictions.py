import numpy as np
import pytest

from monitors.estimation.predictions import LabelledPredictions, Predictions, class_scores

SCORES = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])


def test_rows_are_taken_of_everything():
    given = LabelledPredictions(
        predictions=Predictions(
            features={"a": np.array(["x", None, "z"], object)},
            scores=SCORES,
            predicted=np.array([0, 1, 0]),
        ),
        labels=np.array([0, 1, 1]),
        time=np.array([1.0, 2.0, 3.0]),
    )
    some = given.take(np.array([2, 0]))
    assert some.n == 2
    assert some.predictions.features["a"].tolist() == ["z", "x"]
    assert some.predictions.classes.tolist() == [0, 0]
    assert class_scores(some.predictions)[0, 1] == 0.7
    assert some.labels.tolist() == [1, 0]
    assert some.time.tolist() == [3.0, 1.0]
    assert Predictions(features={}, scores=SCORES).classes.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "scores and predicted are both missing"),
        ({"scores": SCORES[:0]}, "there are no rows"),
        ({"scores": SCORES[:, :1]}, r"scores have shape \[3, 1\]"),
        ({"scores": SCORES * np.nan}, "the score of class 0 has NaN or infinity in 3 rows"),
        ({"scores": SCORES, "predicted": np.zeros(2)}, r"predicted has shape \[2\]"),
        ({"predicted": np.array([1.0, np.inf])}, "predicted has NaN or infinity in 1 rows"),
        ({"predicted": np.array(["a"])}, "predicted must be numbers"),
        ({"scores": SCORES, "features": {"age": np.zeros(4)}}, r"column age has shape \[4\]"),
    ],
)
def test_wrong_rows_are_named(given, told):
    with pytest.raises(ValueError, match=told):
        Predictions(**{"features": {}, **given})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"labels": np.zeros(2, np.int64)}, r"labels has shape \[2\]"),
        ({"labels": np.array([0, 1, 2])}, "labels must be from 0 to 1"),
        ({"labels": np.array([0.0, 1.0, np.nan])}, "labels has NaN or infinity in 1 rows"),
        ({"labels": np.array([0.0, 1.0, 1.0])}, "labels must be whole numbers"),
        ({"labels": np.zeros(3, np.int64), "time": np.full(3, np.nan)}, "time has NaN"),
    ],
)
def test_wrong_labels_are_named(given, told):
    with pytest.raises(ValueError, match=told):
        LabelledPredictions(predictions=Predictions(features={}, scores=SCORES), **given)
