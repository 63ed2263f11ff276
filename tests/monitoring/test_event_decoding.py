import numpy as np
import pytest

from serving.channel.messages.observation import EventMeta, Label, Position
from serving.errors import InvalidInput
from serving.monitoring.event_decoding import read_event, read_label
from serving.protocol.messages import Tensor


def meta(ids, rows, sensitive=None):
    position = Position("gateway-0", 1, 0, 0, 0)
    return EventMeta(position, "loans", "1", 7.0, ids, rows, sensitive or {})


def column(name, values):
    return Tensor(name, "FP32", (len(values),), np.array(values, np.float32))


def test_rows_of_a_request_have_its_id_and_their_place_in_it():
    event = read_event(
        meta(["a", "b"], [1, 2], {"sex": ["f", None, "m"]}),
        [column("in:x", [1, 2, 3]), column("out:y", [4, 5, 6])],
    )
    assert (event.rows, event.timestamp) == (3, 7.0)
    assert list(zip(event.request_ids, event.row_index.tolist(), strict=True)) == [
        ("a", 0),
        ("b", 0),
        ("b", 1),
    ]
    assert (event.inputs["x"].tolist(), event.outputs["y"].tolist()) == ([1, 2, 3], [4, 5, 6])
    assert event.sensitive_features["sex"].tolist() == ["f", None, "m"]


@pytest.mark.parametrize(
    ("ids", "rows", "sensitive"),
    [(["a"], [2], {}), (["a", "b"], [3], {}), (["a"], [3], {"sex": ["f"]})],
)
def test_columns_that_differ_in_length_are_refused(ids, rows, sensitive):
    with pytest.raises(InvalidInput, match="differ in length"):
        read_event(meta(ids, rows, sensitive), [column("out:y", [4, 5, 6])])


def test_a_label_is_read_as_it_came():
    label = read_label(Label("a", 2, "yes", {"sex": "f"}, 5.0))
    assert (label.request_id, label.index, label.y_true) == ("a", 2, "yes")
    assert (label.sensitive_features, label.timestamp) == ({"sex": "f"}, 5.0)
