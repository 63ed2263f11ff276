import binascii
import json

import numpy as np

from monitors.performance.group_values import restored as restored_groups
from monitors.performance.prediction_entries import (
    is_of,
    prediction_keys,
    sorted_out,
    without,
)
from monitors.performance.score_column import restored as restored_scores

KEPT = [0, 3, [4]]
SPAN = [9, [["a", 0], ["b", 1]], 3, [0, 1], [[1.0, 2]], [[[], 2]]]
EARLY = [8, [["c", 0]], 1, [0], [[0.5, 1]], [[[], 1]]]
OWN = [7, "b", 1, 4, 1, 1.0, [], 1, 0, [], None, 2.0]
RECALLED = [6, "r", 0, -1, 1, 0.1, [], None, -1, [], None, 0.0]
WAITING = [5, "w", 0, 1, 3.0, None]
WAITING_BEFORE = [2, "v", 0, 1, 3.0]
EARLIER = [4, "e", 0, 1, 1.0, [], None]
EARLIER_LABELLED = [3, "f", 0, 1, 1.0, [], 1, 5, ["sex"], 2.0]
HASHES = [1, 123456789, 987654321]
ALL = [SPAN, OWN, KEPT, EARLIER, WAITING, EARLY, RECALLED, EARLIER_LABELLED, WAITING_BEFORE]


def test_entries_are_told_apart_and_put_in_order():
    found = sorted_out(ALL)
    assert (found.start, found.left_out, found.last) == (3, [4], 9)
    assert found.spans == [EARLY, SPAN]
    assert found.rows == [RECALLED, OWN]
    assert found.waiting == [WAITING_BEFORE, WAITING]
    assert found.earlier == [EARLIER_LABELLED, EARLIER]


def test_nothing_saved_is_nothing():
    found = sorted_out([])
    assert (found.start, found.left_out, found.last, found.spans) == (1, (), 0, [])


def test_keys_of_predictions_are_those_of_all_kinds_of_entries():
    keys = set(prediction_keys(ALL))
    assert keys == {("a", 0), ("b", 1), ("c", 0), ("r", 0), ("e", 0), ("f", 0)}


def test_whose_an_entry_is():
    assert is_of(SPAN, {"b"})
    assert is_of(OWN, {"b", "x"})
    assert is_of(WAITING, {"w"})
    for entry in (SPAN, OWN, WAITING, KEPT, HASHES, [9]):
        assert not is_of(entry, {"x", "9", ""})


def test_requests_are_taken_out_and_counted_once():
    kept, gone = without([KEPT, SPAN, OWN, WAITING, HASHES, [9]], {"b", "w"})
    assert gone == 2
    nobody = {"values": [{}, {}], "rows": [(0, 1), (1, 1)]}
    left = (9, [["a", 0], ["", -1]], 3, [0, None], [[1.0, 2]], nobody)
    assert kept == [KEPT, left, HASHES, [9]]
    assert without([SPAN, KEPT], {"x"}) == ([SPAN, KEPT], 0)


def test_values_and_scores_of_requests_are_taken_out_with_them():
    scores = [2, binascii.b2a_base64(np.array([[0, 1], [1, 0]], "<f4").tobytes()).decode()]
    groups = {"values": [{"sex": "F"}, {"sex": "M"}], "rows": [[0, 1], [1, 1]]}
    (left,), gone = without([[*SPAN[:5], groups, scores]], {"b"})
    assert gone == 1
    assert restored_groups(left[5]) == [{"sex": "F"}, {}]
    assert "M" not in json.dumps(left[5])
    kept = restored_scores(left[6])
    assert kept[0].tolist() == [0, 1]
    assert np.isnan(kept[1]).all()
