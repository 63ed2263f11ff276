"""Estimators that are fitted on texts get the texts of one input, one a row."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from serving.config import ConfigError
from serving.errors import InvalidInput
from serving.models.formats.loader import load
from serving.models.formats.sklearn.nesting import takes_text

TEXTS = ["cheap pills", "win money", "meeting at noon", "lunch with the team"] * 3
Y = ["spam", "spam", "ham", "ham"] * 3
ASKED = ["money for a meeting", "", "Grüße aus Köln"]
GIVEN = np.array([text.encode() for text in ASKED], object)
PROBABILITIES = {"name": "p", "datatype": "FP64", "shape": [-1, 2], "classes": ["ham", "spam"]}


def text(shape, datatype="BYTES", **more):
    return {"name": "text", "datatype": datatype, "shape": shape, **more}


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
    estimator.fit(TEXTS, Y)
    label = {"name": "label", "datatype": "BYTES", "shape": [-1]}
    model = load(make_sklearn(estimator, [text(shape)], [PROBABILITIES, label]), "cpu")
    found = model.predict({"text": GIVEN.reshape(-1, *shape[1:])})
    np.testing.assert_array_equal(found["p"], estimator.predict_proba(ASKED))
    assert found["label"].tolist() == [str(each).encode() for each in estimator.predict(ASKED)]
    assert model.predict({"text": GIVEN[:0].reshape(0, *shape[1:])})["p"].shape == (0, 2)


class Lengths(FunctionTransformer):
    """Takes texts, and tells nothing of it."""

    def transform(self, texts):
        return np.array([[len(each)] for each in texts], float)


def test_what_tells_of_no_columns_gets_texts_where_they_are_declared(make_sklearn):
    estimator = make_pipeline(Lengths(), Ridge()).fit(TEXTS, np.arange(12.0))
    model = load(
        make_sklearn(estimator, [text([-1])], [{"name": "y", "datatype": "FP64", "shape": [-1]}]),
        "cpu",
    )
    np.testing.assert_array_equal(model.predict({"text": GIVEN})["y"], estimator.predict(ASKED))


@pytest.mark.parametrize(
    "inputs",
    [
        [text([-1, 2])],
        [text([-1], "FP32")],
        [text([-1]), {"name": "more", "datatype": "BYTES", "shape": [-1]}],
    ],
)
def test_other_inputs_are_refused(make_sklearn, inputs):
    estimator = classifier(TfidfVectorizer()).fit(TEXTS, Y)
    with pytest.raises(ConfigError, match=r"declare one input, of BYTES \[-1\] or \[-1, 1\]"):
        load(make_sklearn(estimator, inputs, [PROBABILITIES]), "cpu")


def test_bytes_that_are_no_text_are_the_clients_fault(make_sklearn):
    estimator = classifier(TfidfVectorizer()).fit(TEXTS, Y)
    model = load(make_sklearn(estimator, [text([-1])], [PROBABILITIES]), "cpu")
    with pytest.raises(InvalidInput, match="input 'text': holds bytes that are no text"):
        model.predict({"text": np.array([b"\xff"], object)})


def test_a_client_cannot_choose_files(make_sklearn, tmp_path):
    path = tmp_path / "secret"
    path.write_text("cheap pills")
    estimator = classifier(TfidfVectorizer(input="filename")).fit([str(path)] * 2, ["a", "b"])
    with pytest.raises(ConfigError, match="reads the files that its input names"):
        load(make_sklearn(estimator, [text([-1])], [PROBABILITIES]), "cpu")


def test_a_column_of_a_frame_stays_a_column(make_sklearn):
    frame = pd.DataFrame({"body": TEXTS, "from": ["a", "b", "c"] * 4, "size": np.arange(12.0)})
    columns = make_column_transformer(
        (TfidfVectorizer(), "body"), (OneHotEncoder(), ["from"]), remainder="passthrough"
    )
    estimator = classifier(columns).fit(frame, Y)
    assert not takes_text(estimator)
    inputs = [
        text([-1, 2], features=[{"name": "from"}, {"name": "body"}]),
        {"name": "n", "datatype": "FP64", "shape": [-1, 1], "features": [{"name": "size"}]},
    ]
    model = load(make_sklearn(estimator, inputs, [PROBABILITIES]), "cpu")
    words = frame[["from", "body"]].map(str.encode).to_numpy(object)
    found = model.predict({"text": words, "n": frame[["size"]].to_numpy()})
    np.testing.assert_array_equal(found["p"], estimator.predict_proba(frame))
