import sys
import zipfile

import lightgbm
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from serving.config import ConfigError
from serving.errors import ModelFailed, Unsupported
from serving.models.formats.loader import load
from serving.models.repository.folder import ModelRepository
from serving.models.repository.manifest import write_manifest

io = pytest.importorskip("skops.io", reason="needs skops, from vigil[sklearn]")

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
HEAD = X[:4].astype(np.float32)
CONFIG = """
format: sklearn
inputs: [{name: x, datatype: FP32, shape: [-1, 4]}]
outputs: [{name: y, datatype: FP32, shape: [-1, 3]}]
"""


def keep(x):
    return x


def fail(x):
    raise ValueError("no luck")


def outputs(text):
    return CONFIG.replace("{name: y, datatype: FP32, shape: [-1, 3]}", text)


@pytest.fixture
def make(tmp_path):
    def build(estimator, config=CONFIG):
        folder = tmp_path / "models" / "fitted"
        (folder / "1").mkdir(parents=True)
        (folder / "model.yaml").write_text(config)
        io.dump(estimator, folder / "1" / "model.skops")
        write_manifest(folder / "1", ["model.skops"])
        return ModelRepository(tmp_path / "models").get("fitted")

    return build


@pytest.fixture(scope="module")
def classifier():
    return LogisticRegression(max_iter=1000).fit(X, NAMES)


def test_probabilities_and_labels(make, classifier):
    both = outputs(
        "{name: y, datatype: FP32, shape: [-1, 3]}, {name: label, datatype: BYTES, shape: [-1]}"
    )
    model = load(make(classifier, both), "cpu")
    found = model.predict({"x": HEAD})
    np.testing.assert_allclose(found["y"], classifier.predict_proba(HEAD), rtol=1e-5)
    assert found["label"].tolist() == [b"setosa"] * 4
    assert model.predict({"x": HEAD[:0]})["label"].shape == (0,)
    with pytest.raises(Unsupported, match="format sklearn has no gradients"):
        model.module()


def test_an_estimator_that_works_in_place_cannot_reach_the_caller(make):
    scaled = make_pipeline(StandardScaler(copy=False), LogisticRegression(max_iter=1000))
    scaled.fit(X.copy(), Y)
    model = load(make(scaled), "cpu")
    given = HEAD.copy()
    expected = scaled.predict_proba(HEAD.copy())
    for _ in range(2):
        np.testing.assert_allclose(model.predict({"x": given})["y"], expected, rtol=1e-5)
    np.testing.assert_array_equal(given, HEAD)


@pytest.mark.parametrize(("targets", "shape"), [(X[:, 0], "[-1]"), (X[:, :3], "[-1, 3]")])
def test_regression(make, targets, shape):
    regression = LinearRegression().fit(X, targets)
    model = load(make(regression, CONFIG.replace("[-1, 3]", shape)), "cpu")
    np.testing.assert_allclose(model.predict({"x": HEAD})["y"], targets[:4], rtol=1e-4)


def test_whole_numbers_and_trust(make):
    forest = RandomForestClassifier(5, n_jobs=-1, random_state=0).fit(X, Y)
    config = outputs("{name: y, datatype: INT32, shape: [-1]}") + "trust_code: true\n"
    model = load(make(forest, config), "cpu")
    assert model.predict({"x": HEAD})["y"].tolist() == [0, 0, 0, 0]


def test_a_package_that_is_missing_is_named(make, monkeypatch):
    fitted = lightgbm.LGBMRegressor(n_estimators=2, verbose=-1).fit(X, X[:, 0])
    entry = make(fitted, outputs("{name: y, datatype: FP32, shape: [-1]}") + "trust_code: true\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "lightgbm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ConfigError, match=r"needs the module 'lightgbm.*install its package"):
        load(entry, "cpu")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[-1, 3]", "[-1, 2]", r"predict_proba \(FP64 \[-1, 3\]\), .*declares FP32 \[-1, 2\]"),
        (
            "FP32, shape: [-1, 3]",
            "INT64, shape: [-1]",
            r"predict \(BYTES \[-1\]\), .* declares INT64",
        ),
        ("[-1, 3]", "[-1, 3], classes: [virginica, versicolor, setosa]", "classes are setosa, v"),
    ],
)
def test_what_does_not_fit_is_named(make, classifier, old, new, says):
    with pytest.raises(ConfigError, match=rf"model\.skops: .*{says}"):
        load(make(classifier, CONFIG.replace(old, new)), "cpu")


def test_types_that_are_not_trusted_are_named(make):
    fitted = make_pipeline(FunctionTransformer(keep), LogisticRegression(max_iter=1000)).fit(X, Y)
    with pytest.raises(ConfigError, match=r"harmless: .*keep; set `trust_code: true`"):
        load(make(fitted), "cpu")


def test_a_failure_of_the_estimator_is_named(make):
    fitted = make_pipeline(FunctionTransformer(keep), LogisticRegression(max_iter=1000)).fit(X, Y)
    fitted[0].set_params(func=fail)
    model = load(make(fitted, f"trust_code: true\n{CONFIG}"), "cpu")
    for value in (1.0, np.nan):
        with pytest.raises(ModelFailed, match="ValueError: no luck"):
            model.predict({"x": np.full((1, 4), value, np.float32)})


def test_a_damaged_file_is_named(make, classifier):
    entry = make(classifier)
    entry.weights.write_bytes(b"junk")
    write_manifest(entry.directory, ["model.skops"])
    with pytest.raises(ConfigError, match=r"model\.skops: BadZipFile"):
        load(entry, "cpu")


def test_without_the_extra_it_is_named(make, classifier, monkeypatch):
    entry = make(classifier)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(ConfigError, match=r"needs skops; install vigil\[sklearn\]"):
        load(entry, "cpu")


@pytest.mark.parametrize(
    ("times", "size", "says"), [(1, 4 << 20, "unpacks to more"), (30, 100 << 10, "more often")]
)
def test_an_archive_that_would_fill_the_memory_is_refused(
    make, classifier, monkeypatch, times, size, says
):
    monkeypatch.setattr("serving.models.formats.sklearn.estimator.MOST_UNPACKED", 2 << 20)
    entry = make(classifier)
    with zipfile.ZipFile(entry.weights) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = members["schema.json"]
    members["schema.json"] = schema[:-1] + b', "more": [' + b'"bomb.npy",' * times + b'"x"]}'
    members["bomb.npy"] = bytes(size)
    with zipfile.ZipFile(entry.weights, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert entry.weights.stat().st_size < 100_000
    write_manifest(entry.directory, ["model.skops"])
    with pytest.raises(ConfigError, match=says):
        load(entry, "cpu")
