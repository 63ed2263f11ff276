import json
import math

import numpy as np
import pytest

from monitors.performance.forgotten_keys import ForgottenKeys
from monitors.performance.label_join import LabelCounts
from monitors.performance.label_kinds import ClassLabels
from monitors.performance.labels import JoinedRow, LabelEvent
from monitors.rows import Rows
from serving.errors import InvalidInput
from serving.monitoring.labelled_rows import LabelledRows


def watch():
    return LabelledRows(ClassLabels(["cat", "dog", "cow"]), ForgottenKeys())


def predictions(*ids):
    n = len(ids)
    return Rows(
        n=n,
        timestamp=1.0,
        predicted=np.ones(n, np.int64),
        request_ids=list(ids),
        row_index=np.zeros(n, np.int64),
    )


def test_coverage_counts_labels_whether_they_come_before_or_after():
    truth = watch()
    assert math.isnan(truth.coverage)
    assert truth.labelled([LabelEvent("a", 0, "cat")], 1.0) == (LabelCounts(unknown=1), [], [])
    assert truth.predicted(predictions("a", "b", "c", "d")) == [JoinedRow(1, 0)]
    assert truth.coverage == 0.25
    counts, joined, _ = truth.labelled([LabelEvent("b", 0, 1), LabelEvent("b", 0, 1)], 1.0)
    assert (counts, joined) == (LabelCounts(accepted=1, duplicate=1), [JoinedRow(1, 1)])
    assert truth.coverage == 0.5
    again = watch()
    again.restore_entries(json.loads(json.dumps(list(truth.entries()))))
    again.restore(json.loads(json.dumps(truth.state())))
    assert again.coverage == 0.5
    assert again.knows(LabelEvent("c", 0, 0))


@pytest.mark.parametrize("wrong", ["horse", 3, -1, 0.5])
def test_of_labels_with_a_wrong_one_none_is_taken(wrong):
    truth = watch()
    truth.predicted(predictions("a", "b"))
    with pytest.raises(InvalidInput, match=r"^labels: "):
        truth.labelled([LabelEvent("a", 0, 1), LabelEvent("b", 0, wrong)], 1.0)
    assert truth.coverage == 0
