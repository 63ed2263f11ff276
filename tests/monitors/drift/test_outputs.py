import numpy as np
import pytest

from monitors.drift.outputs import output_columns

SCORES = np.array([[0.2, 0.8], [0.9, 0.1], [np.nan, 0.5]], np.float32)


def test_two_scores_are_one_column_and_a_class():
    found = output_columns({"p": SCORES}, {"p": ["no", "yes"]})
    assert list(found) == ["p[1]", "p.class"]
    assert found["p.class"].tolist() == ["yes", "no", None]


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((3,), ["p"]),
        ((3, 1), ["p"]),
        ((3, 3), ["p[0]", "p[1]", "p[2]", "p.class"]),
        ((3, 21), ["p.max", "p.class"]),
        ((3, 0), []),
    ],
)
def test_columns_by_shape(shape, names):
    classes = {"p": ["a", "b"]}
    assert list(output_columns({"p": np.zeros(shape)}, classes)) == names


def test_classes_without_a_name_are_called_by_their_number():
    scores = np.eye(3)
    assert output_columns({"p": scores}, {"p": ["a"]})["p.class"].tolist() == ["a", "1", "2"]
    assert "p.class" not in output_columns({"p": scores}, {})


def test_text_is_a_column_and_lists_of_text_are_none():
    text = np.array([b"yes", b"no"], object)
    assert list(output_columns({"t": text, "many": text.reshape(1, 2)}, {})) == ["t"]
