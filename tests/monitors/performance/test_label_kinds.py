import numpy as np
import pytest

from monitors.performance.label_kinds import ClassLabels, NumberLabels, RankingLabels

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (ClassLabels(["no", "yes"]), "yes", 1),
        (ClassLabels(["no", "yes"]), True, 1),
        (ClassLabels(["no", "yes"]), False, 0),
        (ClassLabels(["1", "0"]), "1", 0),
        (ClassLabels(["a", "b", "c"]), 2.0, 2),
        (ClassLabels(), True, 1),
        (ClassLabels(), 70, 70),
        (NumberLabels(), 3, 3.0),
        (NumberLabels(), -2.5, -2.5),
        (NumberLabels(2), [1, 2.5], [1.0, 2.5]),
        (RankingLabels(3), 1, [0.0, 1.0, 0.0]),
        (RankingLabels(3), 2.0, [0.0, 0.0, 1.0]),
        (RankingLabels(3), [3, 0, 0.5], [3.0, 0.0, 0.5]),
    ],
)
def test_reads(kind, given, value):
    read = kind.read(given)
    assert (type(read), read) == (type(value), value)
    assert kind.holds(read)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (ClassLabels(["no", "yes"]), ["maybe", "", 2, -1, 0.5, NAN, INF, [1.0], 1e300]),
        (ClassLabels(["a", "b", "c"]), [True, False, "d", 3]),
        (ClassLabels(), ["yes", -1, 2**31, 1e18]),
        (NumberLabels(), [True, "1", [1.0], NAN, INF, -INF, 1e80, 10**400]),
        (NumberLabels(2), [1, [1.0], [1.0, 2.0, 3.0], [1.0, NAN], "12", True]),
        (RankingLabels(3), [3, -1, 0.5, True, "a", NAN, INF, [1.0], [1.0, -1.0, 0.0]]),
    ],
)
def test_refuses(kind, wrong):
    for given in wrong:
        with pytest.raises(ValueError, match=r"^a ") as refused:
            kind.read(given)
        assert str(refused.value) == kind.takes


def test_says_what_it_takes():
    assert ClassLabels(list("abcd")).takes == (
        "a class name ('a', 'b', 'c', …) or a class index from 0 to 3"
    )
    assert ClassLabels(["n", "y"]).takes.endswith("from 0 to 1, or true or false")
    assert ClassLabels().takes == "a class index, 0 or more, or true or false"


def test_what_an_answer_says_row_by_row():
    scores = np.array([[0.1, 0.9], [NAN, 1.0]], np.float32)
    classes = ClassLabels()
    assert classes.values(classes.predicted(scores)) == [1, -1]
    one = NumberLabels()
    for shape in ((3,), (3, 1)):
        answers = np.array([1.5, NAN, INF]).reshape(shape)
        assert one.values(one.predicted(answers)) == [1.5, None, None]
    assert one.values(one.predicted(np.array([1e80]))) == [None]
    two = NumberLabels(2)
    assert two.values(two.predicted(scores)) == [[np.float32(0.1), np.float32(0.9)], None]
    ranking = RankingLabels(2)
    assert ranking.values(ranking.predicted(scores))[1] is None
    for kind in (classes, one, two, ranking):
        assert kind.values(kind.predicted(np.zeros((0, 2) if kind is not one else 0))) == []


@pytest.mark.parametrize(
    ("kind", "output"),
    [
        (NumberLabels(), np.zeros((2, 2))),
        (NumberLabels(3), np.zeros((2, 2))),
        (NumberLabels(), np.array([b"1"], object)),
        (RankingLabels(3), np.zeros((2, 2))),
        (RankingLabels(3), np.zeros(3)),
    ],
)
def test_answers_of_another_shape_are_none(kind, output):
    with pytest.raises(ValueError, match="an output of shape"):
        kind.predicted(output)
