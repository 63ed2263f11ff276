"""What lies inside an estimator, and which of them take text."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import GradientBoostingRegressor, VotingClassifier, VotingRegressor
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeRegressor

from serving.models.formats.loader import load
from serving.models.formats.sklearn.nesting import last, parts, tags_of, takes_text

X, Y = np.arange(20.0).reshape(10, 2), np.arange(10.0)


def kinds(estimator):
    return {type(part) for part in parts(estimator)}


def test_every_part_is_yielded_once():
    shared = Ridge()
    pipeline = make_pipeline(PCA(), VotingRegressor([("a", shared), ("b", shared)]))
    found = list(parts(pipeline))
    assert found[0] is pipeline
    assert len(found) == len({id(part) for part in found})
    assert kinds(pipeline) >= {PCA, VotingRegressor, Ridge}


def test_members_in_arrays_and_refitted_copies_are_parts():
    boosted = GradientBoostingRegressor(n_estimators=2).fit(X, Y)
    assert sum(isinstance(part, DecisionTreeRegressor) for part in parts(boosted)) == 2
    search = GridSearchCV(Ridge(), {"alpha": [1.0]}, cv=2).fit(X, Y)
    assert any(part is search.best_estimator_ for part in parts(search))


def test_classes_and_plain_values_are_no_parts():
    estimator = LinearRegression()
    estimator.kind, estimator.number, estimator.names = Ridge, 3, ["a"]
    assert list(parts(estimator)) == [estimator]


@pytest.mark.parametrize(("depth", "is_found"), [(1, True), (3, True), (4, False)])
def test_lists_in_lists_are_looked_into_to_a_depth(depth, is_found):
    estimator, held = LinearRegression(), Ridge()
    for _ in range(depth):
        held = [held]
    estimator.held = held
    assert (Ridge in kinds(estimator)) == is_found


def test_what_holds_itself_ends():
    estimator = LinearRegression()
    estimator.held = [estimator]
    assert list(parts(estimator)) == [estimator]


def test_the_last_one_answers():
    ridge = Ridge()
    assert last(ridge) is ridge
    assert last(make_pipeline(PCA(), make_pipeline(PCA(), ridge))) is ridge
    search = GridSearchCV(make_pipeline(PCA(), Ridge()), {"ridge__alpha": [1.0]}, cv=2).fit(X, Y)
    assert last(search) is search.best_estimator_.steps[-1][1]
    passing = make_pipeline(PCA(), "passthrough")
    assert last(passing) is passing


def test_what_is_no_estimator_has_no_tags():
    assert tags_of("passthrough") is None
    assert tags_of(object()) is None
    assert tags_of(Ridge()) is not None


@pytest.mark.parametrize(
    ("estimator", "is_text"),
    [
        (CountVectorizer(), True),
        (Ridge(), False),
        (make_pipeline(None, CountVectorizer()), True),
        (make_pipeline(PCA(), CountVectorizer()), False),
        (object(), False),
    ],
)
def test_the_first_that_looks_at_the_input_decides(estimator, is_text):
    assert takes_text(estimator) == is_text


TEXTS = ["cheap pills", "win money", "meeting at noon", "lunch with the team"] * 3
LABELS = ["spam", "spam", "ham", "ham"] * 3
ASKED = ["money for a meeting", "", "Grüße aus Köln"]
GIVEN = np.array([text.encode() for text in ASKED], object)
TEXT = {"name": "text", "datatype": "BYTES"}
PROBABILITIES = {"name": "p", "datatype": "FP64", "shape": [-1, 2], "classes": ["ham", "spam"]}


def lower(texts):
    return [each.lower() for each in texts]


def classifier(*steps):
    return make_pipeline(*steps, LogisticRegression())


FITTED = {
    "one vectorizer": classifier(TfidfVectorizer()),
    "a hash": classifier(HashingVectorizer(n_features=64)),
    "a union": classifier(make_union(TfidfVectorizer(), CountVectorizer(analyzer="char"))),
    "a pipeline in a pipeline": classifier(make_pipeline(CountVectorizer(), TruncatedSVD(2))),
    "a function before": classifier(FunctionTransformer(lower), TfidfVectorizer()),
    "a search": GridSearchCV(
        classifier(TfidfVectorizer()), {"logisticregression__C": [1, 2]}, cv=2
    ),
    "a vote": VotingClassifier(
        [("a", classifier(TfidfVectorizer())), ("b", classifier(CountVectorizer()))], voting="soft"
    ),
    "calibrated": CalibratedClassifierCV(classifier(TfidfVectorizer()), cv=2),
    "nothing, and then a vectorizer": make_pipeline("passthrough", classifier(TfidfVectorizer())),
}


@pytest.mark.parametrize("shape", [[-1], [-1, 1]])
@pytest.mark.parametrize("estimator", FITTED.values(), ids=FITTED)
def test_texts_give_what_the_estimator_gives(make_sklearn, estimator, shape):
    estimator.fit(TEXTS, LABELS)
    label = {"name": "label", "datatype": "BYTES", "shape": [-1]}
    model = load(make_sklearn(estimator, [{**TEXT, "shape": shape}], [PROBABILITIES, label]), "cpu")
    found = model.predict({"text": GIVEN.reshape(-1, *shape[1:])})
    np.testing.assert_array_equal(found["p"], estimator.predict_proba(ASKED))
    assert found["label"].tolist() == [str(each).encode() for each in estimator.predict(ASKED)]
    assert model.predict({"text": GIVEN[:0].reshape(0, *shape[1:])})["p"].shape == (0, 2)
