"""Pickled estimators become skops; what is none, or cannot be one, is told in a sentence."""

import pickle

import pytest
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeRegressor

from serving.config import ConfigError

pytest.importorskip("skops", reason="needs skops, from vigil[sklearn]")

from serving.models.formats.sklearn.pickled import to_skops


@pytest.fixture
def convert(tmp_path):
    def convert(value):
        file = tmp_path / "m.pkl"
        file.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value))
        return to_skops(file, tmp_path / "model.skops")

    return convert


def holding(value):
    estimator = LinearRegression()
    estimator.held = value
    return estimator


class Leaves:
    def __reduce__(self):
        return exec, ("raise SystemExit(3)",)


def test_what_needs_trust_is_told(convert, tmp_path):
    assert convert(LinearRegression()) == ["serve it with `format: sklearn`"]
    assert (tmp_path / "model.skops").is_file()
    (note,) = convert(DecisionTreeRegressor().fit([[1], [2]], [1, 2]))
    assert note.endswith("and `trust_code: true`, because it holds sklearn.tree._tree.Tree")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([1], "holds a list, not a scikit-learn estimator"),
        (LinearRegression, "holds a ABCMeta, not a scikit-learn estimator"),
        (b"junk", "cannot be read: "),
        (b"", "cannot be read: "),
        (Leaves(), "cannot be read: SystemExit: 3"),
        (holding({(1, 2): 3}), "cannot be written as skops: TypeError: keys must be str"),
    ],
    ids=["list", "class", "junk", "empty", "leaves", "keys"],
)
def test_what_cannot_be_converted_is_named(convert, tmp_path, value, says):
    with pytest.raises(ConfigError, match=rf"m\.pkl: {says}"):
        convert(value)
    assert not (tmp_path / "model.skops").exists()


def test_what_holds_itself_is_named(convert):
    estimator = LinearRegression()
    estimator.held = estimator
    with pytest.raises(ConfigError, match="cannot be written as skops: RecursionError"):
        convert(estimator)
