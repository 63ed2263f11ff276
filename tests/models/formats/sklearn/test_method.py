"""What an output of a scikit-learn model means: the method that it names, or the only one."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.covariance import EllipticEnvelope
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC, OneClassSVM

from serving.config import ConfigError, OutputSpec
from serving.errors import ModelFailed
from serving.models.formats.loader import load
from serving.models.formats.sklearn.method import method_of

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
TWO = np.column_stack([Y, Y > 0])
HEAD = X[::40]
INPUT = {"name": "x", "datatype": "FP64", "shape": [-1, 4]}


def output(datatype, shape, method=None, **more):
    return {"name": "y", "datatype": datatype, "shape": shape, "method": method, **more}


def chosen(estimator, datatype, shape, **more):
    return method_of("model.skops", estimator, OutputSpec(**output(datatype, shape, **more)))


CHOICES = {
    "a detector's label": (IsolationForest(n_estimators=5), None, "INT64", [-1], "predict"),
    "labels of text": (LogisticRegression(max_iter=1000), NAMES, "BYTES", [-1], "predict"),
    "labels of numbers": (LinearSVC(), Y, "INT32", [-1], "predict"),
    "small labels": (LinearSVC(), Y, "UINT8", [-1], "predict"),
    "labels of truth": (LinearSVC(), Y > 0, "BOOL", [-1], "predict"),
    "labels of truth as numbers": (LinearSVC(), Y > 0, "INT64", [-1], "predict"),
    "labels of objects": (LinearSVC(), NAMES.astype(object), "BYTES", [-1], "predict"),
    "probabilities": (LogisticRegression(max_iter=1000), Y, "FP32", [-1, 3], "predict_proba"),
    "probabilities of any width": (LogisticRegression(), Y > 0, "FP32", [-1, -1], "predict_proba"),
    "probabilities before a transform": (
        LinearDiscriminantAnalysis(), Y, "FP64", [-1, 3], "predict_proba",
    ),
    "a transform of a classifier": (
        LinearDiscriminantAnalysis(), Y, "FP64", [-1, 2], "transform",
    ),
    "scores of classes": (LinearSVC(), Y, "FP64", [-1, 3], "decision_function"),
    "a score of two classes": (LinearSVC(), Y > 0, "FP64", [-1], "decision_function"),
    "scores of pairs": (
        SVC(decision_function_shape="ovo"), np.arange(150) % 4, "FP64", [-1, 6],
        "decision_function",
    ),
    "behind other steps": (
        make_pipeline(StandardScaler(), LinearSVC()), Y, "FP64", [-1, 3], "decision_function",
    ),
    "found by a search": (
        GridSearchCV(LinearSVC(), {"C": [0.1, 1]}, cv=2), NAMES, "FP64", [-1, 3],
        "decision_function",
    ),
    "a regression": (LinearRegression(), X[:, 0], "FP32", [-1], "predict"),
    "a regression of several": (LinearRegression(), X[:, :3], "FP16", [-1, 3], "predict"),
    "a transform": (PCA(2), None, "FP32", [-1, 2], "transform"),
    "a likelihood": (PCA(2), None, "FP32", [-1], "score_samples"),
    "a density": (KernelDensity(), None, "FP64", [-1], "score_samples"),
    "a cluster": (KMeans(3, n_init=1), None, "INT64", [-1], "predict"),
    "distances": (KMeans(3, n_init=1), None, "FP64", [-1, 3], "transform"),
    "a share of clusters": (GaussianMixture(2), None, "FP64", [-1, 2], "predict_proba"),
    "several labels": (RandomForestClassifier(3), TWO, "INT64", [-1, 2], "predict"),
    "several labels of one network": (
        MLPClassifier(4, max_iter=5000), TWO > 0, "INT64", [-1, 2], "predict",
    ),
    "several labels of a chain": (
        ClassifierChain(LogisticRegression(max_iter=1000)), TWO > 0, "INT64", [-1, 2], "predict",
    ),
    "several scores": (RidgeClassifier(), TWO > 0, "FP64", [-1, 2], "decision_function"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("estimator", "y", "datatype", "shape", "wanted"), CHOICES.values(), ids=CHOICES
)
def test_the_only_method_that_can_is_taken(make_sklearn, estimator, y, datatype, shape, wanted):
    estimator.fit(X, y)
    assert chosen(estimator, datatype, shape) == wanted
    given = load(make_sklearn(estimator, [INPUT], [output(datatype, shape)]), "cpu").predict(
        {"x": HEAD}
    )["y"]
    expected = getattr(estimator, wanted)(HEAD)
    if datatype == "BYTES":
        assert given.tolist() == [str(label).encode() for label in expected]
    else:
        np.testing.assert_allclose(given, expected, rtol=1e-3 if datatype == "FP16" else 1e-6)


@pytest.mark.parametrize(
    "detector",
    [
        IsolationForest(n_estimators=5), OneClassSVM(),
        EllipticEnvelope(), LocalOutlierFactor(novelty=True),
        make_pipeline(StandardScaler(), IsolationForest(n_estimators=5)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("datatype", ["FP64", "FP32"])
def test_a_score_of_a_detector_must_be_named(make_sklearn, detector, datatype):
    detector.fit(X)
    with pytest.raises(ConfigError, match="write `method`") as caught:
        chosen(detector, datatype, [-1])
    for offer in ("predict (INT64 [-1])", "decision_function (FP64 [-1])", "score_samples (FP64 "):
        assert offer in str(caught.value)
    for method in ("decision_function", "score_samples"):
        entry = make_sklearn(detector, [INPUT], [output(datatype, [-1], method)], method)
        given = load(entry, "cpu").predict({"x": HEAD})["y"]
        np.testing.assert_allclose(given, getattr(detector, method)(HEAD), rtol=1e-5)


def test_labels_are_no_scores():
    forest = RandomForestClassifier(3)
    for labels in (Y, Y > 0, NAMES, Y.astype(float)):
        with pytest.raises(ConfigError, match="write `method`"):
            chosen(forest.fit(X, labels), "FP64", [-1])
    assert chosen(forest.fit(X, Y.astype(float)), "FP64", [-1], method="predict") == "predict"


WRONG = {
    "no such method": (
        LinearSVC(), Y, "FP64", [-1, 3], {"method": "predict_proba"},
        r"LinearSVC has no predict_proba; it offers predict \(INT64 \[-1\]\), decision_function",
    ),
    "another shape": (
        LogisticRegression(max_iter=1000), Y, "FP64", [-1, 2], {"method": "predict_proba"},
        r"predict_proba of LogisticRegression gives FP64 \[-1, 3\], .* declares FP64 \[-1, 2\]",
    ),
    "a width that none has": (
        PCA(2), None, "FP64", [-1, 3], {}, r"PCA offers .*transform \(FP64 \[-1, 2\]\)",
    ),
    "another kind": (
        LogisticRegression(max_iter=1000), NAMES, "INT64", [-1], {"method": "predict"},
        r"predict of LogisticRegression gives BYTES \[-1\], model\.yaml declares INT64 \[-1\]",
    ),
    "text for numbers": (LinearSVC(), Y, "BYTES", [-1], {}, r"predict \(INT64 \[-1\]\)"),
    "labels that do not fit": (LinearSVC(), Y * 100, "INT8", [-1], {}, r"predict \(INT64"),
    "a label below 0": (OneClassSVM(), None, "UINT8", [-1], {}, r"predict \(INT64"),
    "numbers of a regression": (LinearRegression(), X[:, 0], "INT64", [-1], {}, "predict "),
    "scores of two classes in two": (
        LinearSVC(), Y > 0, "FP64", [-1, 2], {}, r"decision_function \(FP64 \[-1\]\)",
    ),
    "classes in another order": (
        LinearSVC(), NAMES, "FP64", [-1, 3], {"classes": ["virginica", "versicolor", "setosa"]},
        "classes are setosa, v",
    ),
    "probabilities of several targets": (
        RandomForestClassifier(3), TWO, "FP64", [-1, 2], {}, "gives several targets at once",
    ),
    "the same by name": (
        MultiOutputClassifier(LogisticRegression(max_iter=1000)), TWO, "FP64", [-1, 3],
        {"method": "predict_proba"}, "gives several targets at once",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("estimator", "y", "datatype", "shape", "more", "says"), WRONG.values(), ids=WRONG
)
def test_what_no_method_gives_is_refused(estimator, y, datatype, shape, more, says):
    with pytest.raises(ConfigError, match=rf"model\.skops: output 'y': .*{says}") as caught:
        chosen(estimator.fit(X, y), datatype, shape, **more)
    assert "\n" not in str(caught.value)


def test_several_outputs_of_one_estimator(make_sklearn):
    detector = IsolationForest(n_estimators=5, random_state=0).fit(X)
    specs = [
        {"name": "label", "datatype": "INT64", "shape": [-1]},
        {"name": "score", "datatype": "FP64", "shape": [-1], "method": "decision_function"},
        {"name": "again", "datatype": "FP32", "shape": [-1], "method": "decision_function"},
        {"name": "raw", "datatype": "FP64", "shape": [-1], "method": "score_samples"},
    ]
    found = load(make_sklearn(detector, [INPUT], specs), "cpu").predict({"x": HEAD})
    np.testing.assert_array_equal(found["label"], detector.predict(HEAD))
    np.testing.assert_array_equal(found["score"], detector.decision_function(HEAD))
    np.testing.assert_allclose(found["again"], found["score"], rtol=1e-6)
    np.testing.assert_array_equal(found["raw"], detector.score_samples(HEAD))


def test_sparse_tables_and_data_frames_are_tables(make_sklearn):
    words = np.array([["a"], ["b"], ["a"]], object)
    encoder = OneHotEncoder().fit(words)
    text = {"name": "x", "datatype": "BYTES", "shape": [-1, 1]}
    model = load(make_sklearn(encoder, [text], [output("FP64", [-1, 2])]), "cpu")
    given = model.predict({"x": np.array([[b"b"], [b"a"]], object)})["y"]
    assert given.tolist() == [[0, 1], [1, 0]]
    scaler = StandardScaler().set_output(transform="pandas").fit(X)
    model = load(make_sklearn(scaler, [INPUT], [output("FP64", [-1, 4])], "frame"), "cpu")
    np.testing.assert_array_equal(model.predict({"x": HEAD})["y"], scaler.transform(HEAD))


def test_halves_of_floats_are_converted(make_sklearn):
    fitted = LinearRegression().fit(X, X[:, 0] * 2)
    halves = {**INPUT, "datatype": "BF16"}
    model = load(make_sklearn(fitted, [halves], [output("BF16", [-1])]), "cpu")
    bits = np.array([[0x3F80, 0x4000, 0, 0]], np.uint16)  # 1, 2, 0, 0
    assert model.predict({"x": bits})["y"].tolist() == [0x4000]


class Clusters(KMeans):
    """Gives numbers that do not fit into what is declared."""

    def predict(self, x):
        return np.full(len(x), 1 << 40)


def test_a_number_that_does_not_fit_is_no_answer(make_sklearn):
    fitted = Clusters(2, n_init=1).fit(X)
    model = load(make_sklearn(fitted, [INPUT], [output("INT32", [-1])]), "cpu")
    with pytest.raises(ModelFailed, match="has a number that INT32 cannot hold"):
        model.predict({"x": HEAD})
