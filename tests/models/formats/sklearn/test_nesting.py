"""What lies inside an estimator; which of them take text: `test_sklearn_text.py`."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor, VotingRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeRegressor

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
