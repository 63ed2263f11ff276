import json
import zipfile

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from serving.config import ConfigError
from serving.models.formats.sklearn.signature import read_sklearn_signature
from serving.models.signature import Tensor

io = pytest.importorskip("skops.io", reason="needs skops, from vigil[sklearn]")

X, Y = load_iris(return_X_y=True)
FRAME = load_iris(as_frame=True).data
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
UNKNOWN = Tensor("probabilities", None, None)


def probabilities(*classes):
    return Tensor("probabilities", "FP64", [None, len(classes)], {"classes": list(classes)})


@pytest.fixture
def read(tmp_path):
    def dump(estimator):
        io.dump(estimator, tmp_path / "model.skops")
        return read_sklearn_signature(tmp_path / "model.skops")

    return dump


@pytest.mark.parametrize(
    "estimator", [LogisticRegression(max_iter=1000), GaussianNB(), KNeighborsClassifier()]
)
@pytest.mark.parametrize("scaled", [False, True])
def test_classifiers(read, estimator, scaled):
    whole = make_pipeline(StandardScaler(), estimator) if scaled else estimator
    found = read(whole.fit(X, NAMES))
    assert found.inputs == [Tensor("x", "FP64", [None, 4])]
    assert found.outputs == [probabilities("setosa", "versicolor", "virginica")]


@pytest.mark.parametrize("labels", [NAMES.astype(object), Y, Y > 0, Y.astype(float)])
def test_classes_of_any_kind_are_text(read, labels):
    found = read(LogisticRegression(max_iter=1000).fit(X, labels))
    assert found.outputs == [probabilities(*(str(name) for name in np.unique(labels)))]


def test_columns_of_a_data_frame_are_features(read):
    found = read(make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, Y))
    assert found.inputs == [
        Tensor("x", "FP64", [None, 4], {"features": [{"name": name} for name in FRAME.columns]})
    ]


def test_what_the_schema_does_not_tell(read):
    assert read(LinearSVC().fit(X, Y)).outputs == [UNKNOWN]
    assert read(LinearRegression().fit(X, Y)).outputs == [UNKNOWN]
    assert read(KNeighborsClassifier().fit(X, np.stack([Y, Y], 1))).outputs == [UNKNOWN]
    columns = make_column_transformer((StandardScaler(), [0, 1]))
    found = read(make_pipeline(columns, LogisticRegression()).fit(X, Y))
    assert found.inputs == [Tensor("x", None, None)]


def test_texts(read):
    for vectorizer in (TfidfVectorizer(), CountVectorizer(), HashingVectorizer()):
        found = read(make_pipeline(vectorizer, LogisticRegression()).fit(["a bc", "cd e"], [0, 1]))
        assert found.inputs == [Tensor("x", "BYTES", [None])]


def test_columns_that_are_encoded_may_be_text(read):
    fitted = HistGradientBoostingClassifier(max_iter=2).fit(FRAME, Y)
    assert read(fitted).inputs[0].datatype == "FP64"
    first, *_ = FRAME.columns
    frame = FRAME.assign(**{first: np.where(FRAME[first] > 5, "long", "short")})
    fitted.fit(frame.astype({first: "category"}), Y)
    assert read(fitted).inputs == [Tensor("x", None, None)]


def test_nothing_of_the_archive_is_run(read):
    forest = RandomForestClassifier(2).fit(X, Y)  # of a type that skops does not trust
    assert read(forest).outputs == [probabilities("0", "1", "2")]


@pytest.mark.parametrize(
    "schema",
    [
        b"", b"{", b"[]", b"1", b"\xff", b"[" * 100_000, b"{}", b'{"__class__": 1}',
        b'{"__class__": "LogisticRegression", "__module__": 5}',
    ],
)  # fmt: skip
def test_a_damaged_schema_is_a_sentence(tmp_path, schema):
    path = tmp_path / "model.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", schema)
    with pytest.raises(ConfigError, match="is no archive of skops"):
        read_sklearn_signature(path)


def node(content, **more):
    return {"__class__": "LogisticRegression", "__module__": "sklearn.linear_model"} | {
        "content": content, **more
    }  # fmt: skip


ATTRIBUTES = {
    "a number": 5,
    "no node": {"__class__": "dict", "content": {"n_features_in_": 1, "classes_": []}},
    "no numbers": {
        "__class__": "dict",
        "content": {"n_features_in_": node('"four"'), "classes_": node({}, __class__="ndarray")},
    },
    "a huge number": {"__class__": "dict", "content": {"n_features_in_": node("9" * 400)}},
    "a negative one": {"__class__": "dict", "content": {"n_features_in_": node("-1")}},
}


@pytest.mark.parametrize("content", ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_strange_attributes_tell_nothing(tmp_path, content):
    path = tmp_path / "model.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps(node(content)))
    found = read_sklearn_signature(path)
    assert (found.inputs, found.outputs) == ([Tensor("x", None, None)], [UNKNOWN])


@pytest.mark.parametrize("array", [b"", b"\x93NUMPY", np.ones((2, 2)), np.array([None], object)])
def test_strange_classes_tell_nothing(tmp_path, array):
    path = tmp_path / "model.skops"
    classes = {"__class__": "ndarray", "type": "numpy", "file": "c.npy"}
    content = {"__class__": "dict", "content": {"classes_": classes, "n_features_in_": node("2")}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps(node(content)))
        with archive.open("c.npy", "w") as file:
            if isinstance(array, bytes):
                file.write(array)
            else:
                np.save(file, array)
    assert read_sklearn_signature(path).outputs == [UNKNOWN]


def test_no_archive(tmp_path):
    path = tmp_path / "model.skops"
    path.write_bytes(b"estimator")
    with pytest.raises(ConfigError, match="is no archive of skops"):
        read_sklearn_signature(path)
