import numpy as np

from monitors.fairness.counting import ClassCounting, NumberCounting, probability_gaps
from monitors.fairness.definitions import CALIBRATION_GAP
from monitors.rows import Rows

SCORES = np.array([[0.2, 0.8], [0.9, 0.1], [0.4, 0.4], [np.nan, 0.5], [-0.5, 1.5]])
TRUE = np.array([True, True, False, True, True])


def test_a_gap_is_what_is_true_minus_its_probability_where_there_is_one():
    gaps = probability_gaps(SCORES, TRUE, 1)
    np.testing.assert_allclose(gaps[:2], [0.2, 0.9])
    assert np.isnan(gaps[2:]).all()
    assert np.isnan(probability_gaps(None, TRUE, 1)).all()


def test_classes_count_by_prediction_truth_and_probability():
    counting = ClassCounting("y", 1, calibration=True)
    rows = Rows(n=5, timestamp=0.0, predicted=np.array([1, 0, 0, -1, 1]), scores=SCORES)
    labels = TRUE.astype(np.int64)
    predicted, labelled, calibration = counting.ways
    assert counting.of(predicted, rows, None).tolist() == [1, 0, 0, -1, 1]
    assert counting.of(predicted, rows, labels).tolist() == [1, 0, 0, -1, 1]
    assert counting.of(labelled, rows, labels).tolist() == [3, 2, 0, -1, 3]
    amounts = counting.of(calibration, rows, labels)
    assert CALIBRATION_GAP.of(amounts[:2].sum(axis=0)).first == 1.1
    assert np.isnan(amounts[2:]).all()
    assert counting.scores
    assert not ClassCounting("y", 1).scores


def test_numbers_count_by_their_error():
    counting = NumberCounting("y")
    rows = Rows(n=3, timestamp=0.0, predicted=np.array([1.5, np.nan, np.inf]))
    predicted, errors = counting.ways
    assert counting.of(predicted, rows, None).tolist() == [0, -1, 0]
    found = counting.of(errors, rows, np.array([1.0, 1.0, 1.0]))
    assert (found[0], found[2]) == (0.5, np.inf)
    assert np.isnan(found[1])


def test_no_two_definitions_of_a_model_have_the_same_name():
    for counting in (ClassCounting("y", 1, calibration=True), NumberCounting("y")):
        all_of_them = [
            each for way in counting.ways for each in way.definitions
        ]  # fmt: skip
        assert len({each.name for each in all_of_them}) == len(all_of_them)
        assert not counting.ways[0].labelled
